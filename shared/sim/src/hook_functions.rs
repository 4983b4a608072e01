//! Hook functions of the simulated world: they are called with a secret, and say with it how it went, when they like.

use std::collections::{BTreeMap, BTreeSet};

use control::Error;
use control::ports::FunctionError;
use control::rows::{HookRow, HookStatus};
use engine::DeploymentId;
use engine::lifecycle::Event;
use wire::codedeploy::PutLifecycleEventHookExecutionStatus;

use crate::checks::demand;
use crate::core::Core;
use crate::functions::FunctionEvent;
use crate::ports::Ports;
use crate::script::Moment;
use crate::world::World;

/// A function that nobody can call.
pub(crate) const NOT_THERE: &str = "not-there";

/// How often a function says it again that could not say it.
const TRIES: u32 = 200;

/// What hook functions are like, each of ten thousand.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Habits {
    /// A call does not reach it, and there is no answer.
    away: u32,
    /// It runs, and there is no answer.
    answer_lost: u32,
    /// A call reaches it up to forty seconds later: it was throttled, and tried again.
    throttled: u32,
    /// One call runs it twice.
    runs_twice: u32,
    fails: u32,
    /// It says it once more.
    says_twice: u32,
    /// It says something else later.
    changes_mind: u32,
    silent: u32,
    /// It takes up to fifty minutes.
    slow: u32,
    /// It has said it before its caller knows that it was called.
    hasty: u32,
    /// Somebody says something without knowing the secret.
    guessed: u32,
}

impl Habits {
    pub(crate) fn by_chance(often: &mut impl FnMut(u64) -> u32) -> Self {
        Self {
            away: often(2_500),
            answer_lost: often(2_500),
            throttled: often(3_000),
            runs_twice: often(2_000),
            fails: often(4_000),
            says_twice: often(3_000),
            changes_mind: often(3_000),
            silent: often(1_000),
            slow: often(1_000),
            hasty: often(5_000),
            guessed: often(3_000),
        }
    }

    /// A function that says nothing by itself.
    pub(crate) fn silent() -> Self {
        Self { silent: 10_000, ..Self::default() }
    }

    /// Whether calls come to nothing from now on.
    pub(crate) fn lose_calls(&mut self, are_lost: bool) {
        self.away = if are_lost { 10_000 } else { 0 };
    }

    /// Calls arrive from now on. How functions are stays.
    pub(crate) fn heal(&mut self) {
        (self.away, self.answer_lost, self.throttled) = (0, 0, 0);
    }
}

/// What was called, and what was said.
#[derive(Debug, Default)]
pub(crate) struct HookFunctions {
    pub(crate) habits: Habits,
    /// What was said with each secret, or will be, by the secret's hash.
    runs: BTreeMap<String, BTreeSet<bool>>,
    /// What is stored.
    rows: BTreeMap<(DeploymentId, Event), HookRow>,
}

impl HookFunctions {
    /// What the hook of an event has said, as it stands.
    pub(crate) fn verdict(&self, id: &DeploymentId, event: Event) -> Option<HookStatus> {
        self.rows.get(&(id.clone(), event))?.status
    }
}

/// Something that a hook function says.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    id: String,
    secret: String,
    is_good: bool,
    tries: u32,
    /// Whether whoever says it knows no secret.
    is_guess: bool,
}

impl Core {
    /// Runs a hook function: plans what it will say, and when.
    fn run_hook(&mut self, id: &str, secret: &str) {
        let Habits { fails, says_twice, changes_mind, silent, slow, hasty, guessed, .. } =
            self.functions.hooks.habits;
        let run = self.functions.hooks.runs.entry(control::hash_of(secret)).or_default();
        let random = &mut self.functions.random;
        let is_good = !random.of_ten_thousand(fails);
        let ms = if random.of_ten_thousand(hasty) {
            0
        } else if random.of_ten_thousand(slow) {
            random.between(60_000, 3_000_000)
        } else {
            random.between(1, 20_000)
        };
        let mut said = Vec::new();
        if !random.of_ten_thousand(silent) {
            said.push((ms, is_good));
            if random.of_ten_thousand(says_twice) {
                said.push((ms + random.between(0, 60_000), is_good));
            }
            if random.of_ten_thousand(changes_mind) {
                said.push((ms + random.between(0, 60_000), !is_good));
            }
        }
        run.extend(said.iter().map(|(_, is_good)| *is_good));
        if self.script.is_some() {
            // Whatever the test says is what the function says.
            run.extend([true, false]);
        }
        let is_guessed = random.of_ten_thousand(guessed);
        self.tell(format_args!("hook of {id}"), || format!("is called, and will say {said:?}"));
        let answer = |secret: &str, is_good, is_guess| {
            let (id, secret) = (id.to_owned(), secret.to_owned());
            FunctionEvent::Answer(Answer { id, secret, is_good, tries: TRIES, is_guess })
        };
        for (ms, is_good) in said {
            self.push(ms, answer(secret, is_good, false).into());
        }
        if is_guessed {
            let wrong: String = secret.chars().rev().collect();
            self.push(ms, answer(&wrong, true, true).into());
        }
    }
}

impl Ports {
    /// `Invoke`, without waiting for what comes of it.
    pub(crate) async fn call_hook(
        &self,
        function: &str,
        payload: &str,
    ) -> Result<(), FunctionError> {
        self.shared.meanwhile(Moment::HookCalled).await;
        self.shared.pause().await;
        let name = function.to_owned();
        let lost =
            || FunctionError::Unavailable { name: function.to_owned(), source: "no answer".into() };
        if function == NOT_THERE {
            let message = "there is no such function".to_owned();
            return Err(FunctionError::Refused { name, message });
        }
        let waits_ms = {
            let mut core = self.shared.core();
            let throttled = core.functions.hooks.habits.throttled;
            core.function_fault(throttled).then(|| core.functions.random.between(200, 40_000))
        };
        if let Some(ms) = waits_ms {
            self.shared.pause_for(ms).await;
        }
        let is_answer_lost = {
            let mut core = self.shared.core();
            let Habits { away, answer_lost, runs_twice, .. } = core.functions.hooks.habits;
            if core.function_fault(away) {
                return Err(lost());
            }
            let payload: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
            let text = |name: &str| payload.get(name).and_then(|text| text.as_str());
            let ids = text("DeploymentId").zip(text("LifecycleEventHookExecutionId"));
            let Some((id, secret)) = ids else {
                core.violate(format!("{function} is called without what it has to know"));
                return Ok(());
            };
            if let Some(script) = &mut core.script {
                script.calls.push((function.to_owned(), payload.to_string()));
            }
            core.run_hook(id, secret);
            if core.function_fault(runs_twice) {
                core.run_hook(id, secret);
            }
            core.function_fault(answer_lost)
        };
        self.shared.pause().await;
        if is_answer_lost { Err(lost()) } else { Ok(()) }
    }
}

impl World {
    /// A hook function says how it went, again and again until it is heard or refused.
    pub(crate) fn hook_answers(&mut self, answer: Answer) {
        let word = if answer.is_good { "Succeeded" } else { "Failed" };
        let request = PutLifecycleEventHookExecutionStatus {
            deployment_id: Some(answer.id.clone()),
            lifecycle_event_hook_execution_id: Some(answer.secret.clone()),
            status: Some(word.to_owned()),
        };
        let what = format!("hook of {}", answer.id);
        self.shared.core().tell(&what, || format!("says {word}, guess {}", answer.is_guess));
        let later = |mut answer: Answer| {
            answer.tries = answer.tries.saturating_sub(1);
            (answer.tries > 0).then_some(FunctionEvent::Answer(answer))
        };
        let again = later(answer.clone()).map(|event| (5_000, event.into()));
        self.spawn(what, false, again, move |control, shared| async move {
            match control.operator_api().put_lifecycle_event_hook_execution_status(&request).await {
                Ok(_) => {
                    let mut core = shared.core();
                    if let Err(broken) = answer_holds(&core, &answer) {
                        core.violate(broken);
                    }
                }
                Err(Error::Refused(_)) => {}
                Err(_) => {
                    if let Some(event) = later(answer) {
                        shared.core().push(5_000, event.into());
                    }
                }
            }
        });
    }
}

/// What must hold of an answer that was taken: it was given with the secret of a hook, and is what that hook has said.
fn answer_holds(core: &Core, answer: &Answer) -> Result<(), String> {
    let Answer { id, secret, is_good, is_guess, .. } = answer;
    demand!(!is_guess, "somebody who knows no secret speaks for a hook of {id}");
    let hash = control::hash_of(secret);
    let row = core.functions.hooks.rows.values().find(|row| row.secret_hash == hash);
    let known = row.and_then(|row| row.status);
    let said = if *is_good { HookStatus::Succeeded } else { HookStatus::Failed };
    demand!(known == Some(said), "a hook of {id} is told that it {said:?}, and it has {known:?}");
    Ok(())
}

/// What a change of a hook's record may do. What was said first stands, and is what the function said.
pub(crate) fn hook_written(core: &mut Core, row: HookRow) -> Result<(), String> {
    let (id, event) = (row.deployment_id.clone(), row.event);
    core.tell(format_args!("{id}"), || {
        format!("hook of {event}: called {}, {:?}", row.is_called, row.status)
    });
    let hooks = &mut core.functions.hooks;
    let old = hooks.rows.insert((id.clone(), event), row.clone());
    let run = hooks.runs.get(&row.secret_hash);
    if let Some(old) = &old {
        let is_kept = old.status.is_none()
            || (old.status, &old.secret_hash) == (row.status, &row.secret_hash);
        demand!(is_kept, "the hook of {event} of {id} said {:?}, and that is lost", old.status);
        let is_same = !old.is_called || (row.is_called && old.secret_hash == row.secret_hash);
        demand!(is_same, "the hook of {event} of {id} was called, and that is forgotten");
    }
    demand!(
        !row.is_called || run.is_some(),
        "the hook of {event} of {id} is said to be called, and was not with this secret"
    );
    if let Some(status) = row.status {
        let is_said = run.is_some_and(|run| run.contains(&(status == HookStatus::Succeeded)));
        demand!(is_said, "the hook of {event} of {id} did not say {status:?}");
    }
    Ok(())
}
