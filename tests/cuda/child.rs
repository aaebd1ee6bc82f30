//! A test that runs again in a process of its own: for what a process can do or suffer once.

use std::process::Command;
use std::time::Duration;

/// The variable that tells a process which test started it, and what for.
const ROLE: &str = "PELTON_TEST_ROLE";
/// How long such a process may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What this process is to do, when `test` started it. It ends by itself where it hangs.
pub(crate) fn role(test: &str) -> Option<String> {
    let role = std::env::var(ROLE).ok()?;
    let role = role.strip_prefix(test)?.strip_prefix(' ')?.to_owned();
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        eprintln!("it hangs");
        std::process::abort();
    });
    Some(role)
}

/// Runs `test` in a new process with this role and these variables; what it printed.
///
/// # Panics
/// When that process fails.
pub(crate) fn child(test: &str, role: &str, variables: &[(&str, &str)]) -> String {
    let (passed, text) = outcome(test, role, variables);
    assert!(passed, "{test}, {role}:\n{text}");
    text
}

/// Whether `test` passes in a new process with this role and these variables, and what it printed.
pub(crate) fn outcome(test: &str, role: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let program = std::env::current_exe().expect("this program is somewhere");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, format!("{test} {role}")).envs(variables.iter().copied());
    let out = command.output().expect("this program starts again");
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(text.contains("running 1 test"), "{test} names no test:\n{text}");
    (out.status.success(), text)
}
