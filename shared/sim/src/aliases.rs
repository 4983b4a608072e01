//! The aliases of the simulated world, as Lambda keeps them: a version, at most one more with a weight, and a revision
//! that changes with each change.
//!
//! The port does what the real adapter does, request by request: each may be late, and what was sent is on its way
//! whatever becomes of who sent it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use control::ports::{AliasStanding, FunctionError, Functions};
use engine::appspec::Alias;

use crate::core::Core;
use crate::function_checks;
use crate::functions::FunctionEvent;
use crate::ports::Ports;
use crate::script::Moment;

/// How long a caller waits for an answer, in milliseconds.
const PATIENCE_MS: u64 = 5_000;

/// How often requests about aliases go wrong, of ten thousand.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct AliasFaults {
    /// It is not done, and there is no answer.
    away: u32,
    /// It is done, and there is no answer.
    answer_lost: u32,
    /// A change comes about up to ninety seconds later.
    late: u32,
    /// A question is asked up to forty seconds later: it was throttled, and tried again.
    throttled: u32,
}

impl AliasFaults {
    pub(crate) fn by_chance(often: &mut impl FnMut(u64) -> u32) -> Self {
        Self {
            away: often(2_000),
            answer_lost: often(3_000),
            late: often(3_000),
            throttled: often(2_000),
        }
    }
}

/// What somebody else does to an alias.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meddling {
    /// Changes how much the newest version has.
    Share,
    /// Has it point to a version of their own.
    Version,
}

/// All aliases, and the changes of them that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    pub(crate) faults: AliasFaults,
    by_name: BTreeMap<String, AliasState>,
    sent: u64,
    /// How many changes are on their way.
    under_way: u64,
    outcomes: BTreeMap<u64, Outcome>,
}

/// An alias.
#[derive(Debug, Clone)]
pub(crate) struct AliasState {
    main: String,
    /// Another version, and what it has, in percent.
    other: Option<(String, u8)>,
    revision: u64,
    /// The number of the newest version of its function.
    published: u64,
    /// Whether somebody else changed it last.
    pub(crate) is_strange: bool,
}

/// A change of an alias that is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    ticket: u64,
    alias: Alias,
    percent: u8,
    revision: u64,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The alias was not any more what the change was meant for.
    Changed,
    Refused(String),
}

pub(crate) fn name_of(alias: &Alias) -> String {
    format!("{}:{}", alias.function, alias.alias)
}

impl AliasState {
    /// How much the new version has, in percent.
    ///
    /// # Errors
    /// What neither of the two versions is, and has some.
    pub(crate) fn share(&self, alias: &Alias) -> Result<u8, String> {
        let all = [Some(&self.main), self.other.as_ref().map(|(version, _)| version)];
        let is_known = |version: &&String| **version == alias.old || **version == alias.new;
        if let Some(stranger) = all.into_iter().flatten().find(|version| !is_known(version)) {
            return Err(format!("the alias sends traffic to version {stranger}"));
        }
        let weight = |version: &String| {
            self.other.as_ref().filter(|(other, _)| other == version).map_or(0, |(_, has)| *has)
        };
        Ok(if self.main == alias.new { 100 - weight(&alias.old) } else { weight(&alias.new) })
    }

    fn has(&self, version: &str) -> bool {
        version.parse().is_ok_and(|number: u64| (1..=self.published).contains(&number))
    }

    /// Whether the weights are such as can be.
    pub(crate) fn holds(&self, name: &str) -> Result<(), String> {
        crate::checks::demand!(self.has(&self.main), "{name} points to {}", self.main);
        let Some((other, has)) = &self.other else { return Ok(()) };
        crate::checks::demand!(
            *other != self.main && self.has(other) && (1..100).contains(has),
            "the weights of {name} are no weights: {self:?}"
        );
        Ok(())
    }
}

impl Aliases {
    /// Publishes the first version of a function for an alias.
    pub(crate) fn publish(&mut self, function: &str, alias: &str) {
        let first = AliasState {
            main: "1".to_owned(),
            other: None,
            revision: 1,
            published: 1,
            is_strange: false,
        };
        drop(self.by_name.insert(format!("{function}:{alias}"), first));
    }

    /// Whether no change is on its way.
    pub(crate) fn are_still(&self) -> bool {
        self.under_way == 0
    }

    /// Whoever may, and not Cutover, has an alias point to a version out of `published`.
    pub(crate) fn point(&mut self, function: &str, alias: &str, version: &str, published: u64) {
        self.publish(function, alias);
        if let Some(state) = self.by_name.get_mut(&format!("{function}:{alias}")) {
            (state.main, state.published) = (version.to_owned(), published);
        }
    }

    pub(crate) fn get(&self, alias: &Alias) -> Option<&AliasState> {
        self.by_name.get(&name_of(alias))
    }
}

impl Core {
    /// The versions that somebody deploys to an alias: mostly a new one over the one that it points to.
    pub(crate) fn version_to_deploy(&mut self, name: &str) -> (String, String) {
        let functions = &mut self.functions;
        let random = &mut functions.random;
        let Some(state) = functions.aliases.by_name.get_mut(name) else {
            return ("1".to_owned(), "2".to_owned());
        };
        let any = |random: &mut crate::random::Random, published: u64| {
            random.between(1, published).to_string()
        };
        let old = if random.of_ten_thousand(600) {
            any(random, state.published)
        } else {
            state.main.clone()
        };
        let new = match random.between(0, 99) {
            0..15 => any(random, state.published),
            15..19 => (state.published + 100).to_string(),
            _ => {
                state.published += 1;
                state.published.to_string()
            }
        };
        (old, new)
    }

    /// Somebody else changes an alias.
    pub(crate) fn meddle(&mut self, name: &str, how: Meddling) {
        let functions = &mut self.functions;
        let share = u8::try_from(functions.random.between(1, 99)).unwrap_or(1);
        let Some(state) = functions.aliases.by_name.get_mut(name) else { return };
        match how {
            Meddling::Share => {
                let newest = state.published.to_string();
                state.other = (newest != state.main).then_some((newest, share));
            }
            Meddling::Version => {
                state.published += 1;
                (state.main, state.other) = (state.published.to_string(), None);
            }
        }
        state.revision += 1;
        state.is_strange = true;
        let state = state.clone();
        self.tell("stranger", || format!("{name} is {state:?}"));
    }

    /// A change reaches the service, which does it if the alias is what it was meant for.
    pub(crate) fn update_alias(&mut self, update: Update) {
        let Update { ticket, alias, percent, revision } = update;
        self.functions.aliases.under_way -= 1;
        let name = name_of(&alias);
        let Some(state) = self.functions.aliases.by_name.get_mut(&name) else { return };
        let main = if percent >= 100 { &alias.new } else { &alias.old };
        let other = (1..100).contains(&percent).then(|| (alias.new.clone(), percent));
        let named = [Some(main), other.as_ref().map(|(version, _)| version)];
        let missing = named.into_iter().flatten().find(|version| !state.has(version));
        let outcome = if let Some(missing) = missing {
            Outcome::Refused(format!("there is no version {missing}"))
        } else if state.revision == revision {
            (state.main, state.other) = (main.clone(), other);
            state.revision += 1;
            state.is_strange = false;
            Outcome::Done
        } else {
            Outcome::Changed
        };
        let now = state.clone();
        self.tell(&name, || format!("is to give {} {percent}%: {outcome:?}, {now:?}", alias.new));
        if outcome == Outcome::Done
            && let Err(broken) = function_checks::alias_changed(self, &alias)
        {
            self.violate(broken);
        }
        drop(self.functions.aliases.outcomes.insert(ticket, outcome));
    }

    /// Sends a change on its way. Returns its ticket, and when its outcome will be known.
    fn send_update(&mut self, alias: &Alias, percent: u8, revision: u64) -> (u64, u64) {
        let functions = &mut self.functions;
        functions.aliases.sent += 1;
        functions.aliases.under_way += 1;
        let ticket = functions.aliases.sent;
        let is_late = functions.random.of_ten_thousand(functions.aliases.faults.late);
        let ms = functions.random.between(1, if is_late { 90_000 } else { 60 });
        let update = Update { ticket, alias: alias.clone(), percent, revision };
        self.push(ms, FunctionEvent::Update(update).into());
        (ticket, ms)
    }

    /// Whether something happens that happens so many times of ten thousand to functions.
    pub(crate) fn function_fault(&mut self, often: u32) -> bool {
        self.functions.random.of_ten_thousand(often)
    }
}

fn unavailable(alias: &Alias) -> FunctionError {
    FunctionError::Unavailable { name: name_of(alias), source: "no answer".into() }
}

fn refused(alias: &Alias, message: String) -> FunctionError {
    FunctionError::Refused { name: name_of(alias), message }
}

impl Ports {
    /// `GetAlias`.
    async fn get_alias(&self, alias: &Alias) -> Result<AliasState, FunctionError> {
        self.shared.pause().await;
        let (is_away, waits_ms) = {
            let mut core = self.shared.core();
            let AliasFaults { away, throttled, .. } = core.functions.aliases.faults;
            let waits = core.function_fault(throttled);
            let waits_ms = waits.then(|| core.functions.random.between(200, 40_000));
            (core.function_fault(away), waits_ms)
        };
        if let Some(ms) = waits_ms {
            self.shared.pause_for(ms).await;
        }
        if is_away {
            return Err(unavailable(alias));
        }
        let found = self.shared.core().functions.aliases.get(alias).cloned();
        self.shared.meanwhile(Moment::AliasRead).await;
        self.shared.pause().await;
        found.ok_or_else(|| refused(alias, "there is no such alias".to_owned()))
    }

    /// `UpdateAlias`, under a revision.
    async fn put_alias(
        &self,
        alias: &Alias,
        percent: u8,
        revision: u64,
    ) -> Result<(), FunctionError> {
        let (ticket, ms) = {
            let mut core = self.shared.core();
            let AliasFaults { away, .. } = core.functions.aliases.faults;
            if core.function_fault(away) {
                return Err(unavailable(alias));
            }
            core.send_update(alias, percent, revision)
        };
        self.shared.pause_for(ms.min(PATIENCE_MS) + 1).await;
        let mut core = self.shared.core();
        let outcome = core.functions.aliases.outcomes.remove(&ticket);
        let AliasFaults { answer_lost, .. } = core.functions.aliases.faults;
        if core.function_fault(answer_lost) {
            return Err(unavailable(alias));
        }
        match outcome {
            Some(Outcome::Done) => Ok(()),
            Some(Outcome::Changed) | None => Err(unavailable(alias)),
            Some(Outcome::Refused(why)) => Err(refused(alias, why)),
        }
    }
}

#[async_trait]
impl Functions for Ports {
    async fn standing(&self, alias: &Alias) -> Result<AliasStanding, FunctionError> {
        let found = self.get_alias(alias).await?;
        let percent = found.share(alias).map_err(|why| refused(alias, why))?;
        Ok(AliasStanding { percent, revision: found.revision.to_string() })
    }

    async fn split(&self, alias: &Alias, percent: u8, revision: &str) -> Result<(), FunctionError> {
        {
            let mut core = self.shared.core();
            if let Err(broken) = function_checks::share_begins(&core, alias, percent) {
                core.violate(broken);
            }
        }
        self.put_alias(alias, percent, revision.parse().unwrap_or(0)).await
    }

    async fn call(&self, function: &str, payload: &str) -> Result<(), FunctionError> {
        self.call_hook(function, payload).await
    }
}
