//! Rivals through Python: a virtual environment with exact versions is made when there is none yet.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a command prints; its errors go where ours go.
pub fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stderr(Stdio::inherit()).output().map_err(|e| format!("{name}: {e}"))?;
    if !out.status.success() {
        return Err(format!("{name} ended with {}", out.status));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The folder of this package.
pub fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter that has what `requirements.txt` of this package says.
pub fn python() -> Result<PathBuf, String> {
    let venv = package().join("target/venv");
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let wanted = package().join("requirements.txt");
    let made = venv.join("made-from");
    let list = std::fs::read(&wanted).map_err(|e| e.to_string())?;
    if std::fs::read(&made).is_ok_and(|had| had == list) {
        return Ok(python);
    }
    eprintln!("making {}", venv.display());
    output(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"];
    output(Command::new(&python).args(install).arg(&wanted))?;
    std::fs::write(&made, list).map_err(|e| e.to_string())?;
    Ok(python)
}
