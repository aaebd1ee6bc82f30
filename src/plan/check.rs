//! What every device may assume of a plan, and how a plan reads when printed.

use super::kernel::Access;
use super::record::{Grid, Memory, Plan, Role, Step};
use crate::base::error::{Error, Result};
use crate::base::limits::{
    BATCH_EVENTS_MAX, EVENT_BYTES_MAX, KERNEL_BINDS_MAX, KERNEL_PARAMS_MAX, PLAN_STEPS_MAX,
};
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

impl Plan {
    /// Checks the plan against the memory it runs over. A device compiles only plans that pass.
    ///
    /// # Errors
    /// `Invalid`, naming the step and what is wrong with it.
    pub fn check(&self, memory: &Memory) -> Result<()> {
        if self.steps.len() > PLAN_STEPS_MAX {
            return Err(self.wrong(format!("{} steps, at most {PLAN_STEPS_MAX}", self.steps.len())));
        }
        if self.events_max > BATCH_EVENTS_MAX || self.stride * 4 > EVENT_BYTES_MAX {
            return Err(self.wrong("batch or event larger than the limits allow"));
        }
        if self.head_words == 0 {
            return Err(self.wrong("a header has at least one word"));
        }
        if let Some(output) = self.output {
            match memory.decl(output).map(|d| d.role) {
                Some(Role::Output { .. }) => {}
                _ => return Err(self.wrong("its output is not a buffer of role Output")),
            }
        }
        self.steps.iter().try_for_each(|step| self.check_step(step, memory))
    }

    fn check_step(&self, step: &Step, memory: &Memory) -> Result<()> {
        let name = step.kernel.name;
        if step.binds.len() != step.kernel.binds.len() || step.binds.len() > KERNEL_BINDS_MAX {
            return Err(self.wrong(format!("{name}: {} bindings", step.binds.len())));
        }
        if step.params.len() != step.kernel.params.len() || step.params.len() > KERNEL_PARAMS_MAX {
            return Err(
                self.wrong(format!("{name}: parameter block of {} words", step.params.len()))
            );
        }
        if step.kernel.events && self.events_max == 0 {
            return Err(self.wrong(format!("{name}: reads events, the plan brings none")));
        }
        if let Grid::Head(word) = step.grid
            && word >= self.head_words
        {
            return Err(
                self.wrong(format!("{name}: grid in header word {word} of {}", self.head_words))
            );
        }
        let mut seen = BTreeSet::new();
        for (bind, id) in step.kernel.binds.iter().zip(&step.binds) {
            let Some(decl) = memory.decl(*id) else {
                return Err(self.wrong(format!("{name}: {} is bound to no buffer", bind.name)));
            };
            if !seen.insert(id) {
                return Err(self.wrong(format!("{name}: {} is bound twice", decl.name)));
            }
            if (decl.role == Role::Weights) != (bind.access == Access::Weights) {
                return Err(self.wrong(format!(
                    "{name}: {} is bound to {}: weights, and nothing else, go with Access::Weights",
                    bind.name, decl.name
                )));
            }
            let output = matches!(decl.role, Role::Output { .. });
            if output && (self.output != Some(*id) || bind.access == Access::Read) {
                return Err(self.wrong(format!("{name}: {} is not this plan's output", decl.name)));
            }
        }
        Ok(())
    }

    fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::invalid(format!("plan {}: {what}", self.name))
    }

    /// A number that differs when the plan or its memory does: for audit records and golden tests. Stable within
    /// one build of the library.
    pub fn digest(&self, memory: &Memory) -> u64 {
        let mut hasher = DefaultHasher::new();
        memory.hash(&mut hasher);
        self.to_string().hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "plan {} (header {} words, up to {} events of {} words)",
            self.name, self.head_words, self.events_max, self.stride
        )?;
        for step in &self.steps {
            write!(f, "  {}", step.kernel.name)?;
            match step.grid {
                Grid::Head(word) => write!(f, " <head[{word}]>")?,
                Grid::Groups(groups) => write!(f, " <{groups}>")?,
            }
            for (bind, id) in step.kernel.binds.iter().zip(&step.binds) {
                let mark = if bind.access == Access::Write { "*" } else { "" };
                write!(f, " {mark}{}=#{}", bind.name, id.0)?;
            }
            for (field, word) in Self::named_params(step) {
                match field.scalar {
                    "f32" => write!(f, " {}={}", field.name, f32::from_bits(word))?,
                    "i32" => write!(f, " {}={}", field.name, word.cast_signed())?,
                    _ => write!(f, " {}={word}", field.name)?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
