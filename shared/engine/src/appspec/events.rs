//! What a name under `hooks` means for hosts: one rule, for whoever reads an AppSpec file
//! (`docs/semantics.md#appspec`).

use crate::lifecycle::Event;

/// What a name under `hooks` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventName {
    /// It is an event, whose scripts run.
    Known(Event),
    /// It is an event that runs no scripts.
    WithoutScripts(Event),
    /// It is a known one but for one edit, for case, or for what separates its words. Its scripts would never run, and
    /// nobody would hear of it.
    Misspelt(Event),
    /// It is anything else; its scripts never run in a deployment.
    Unknown,
}

impl EventName {
    /// What `name` means.
    pub fn of(name: &str) -> Self {
        if let Some(event) = Event::ALL.into_iter().find(|event| event.name() == name) {
            return if event.has_hooks() {
                Self::Known(event)
            } else {
                Self::WithoutScripts(event)
            };
        }
        let letters = letters(name);
        let mut with_hooks = Event::ALL.into_iter().filter(|event| event.has_hooks());
        with_hooks
            .find(|event| is_one_edit(&letters, &self::letters(event.name())))
            .map_or(Self::Unknown, Self::Misspelt)
    }
}

/// The letters of a name, without case and without what separates words. Of a name that is far too long, not all.
fn letters(name: &str) -> Vec<char> {
    let is_word = |c: &char| !c.is_whitespace() && !matches!(c, '_' | '-');
    name.chars().filter(is_word).flat_map(char::to_lowercase).take(100).collect()
}

/// Whether the two differ by one letter that is missing, added or another one, or by two that changed places.
fn is_one_edit(one: &[char], other: &[char]) -> bool {
    let same = |pairs: &mut dyn Iterator<Item = (&char, &char)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };
    let front = same(&mut one.iter().zip(other));
    let (one, other) = (one.get(front..).unwrap_or(&[]), other.get(front..).unwrap_or(&[]));
    let back = same(&mut one.iter().rev().zip(other.iter().rev()));
    let cut = |letters: &[char]| letters.len() - back;
    match (one.get(..cut(one)).unwrap_or(&[]), other.get(..cut(other)).unwrap_or(&[])) {
        ([] | [_], [] | [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_event_or_nearly_one_or_none() {
        for event in Event::ALL {
            let expected = match event.has_hooks() {
                true => EventName::Known(event),
                false => EventName::WithoutScripts(event),
            };
            assert_eq!(EventName::of(event.name()), expected);
        }
        for (name, meant) in [
            ("afterinstall", Event::AfterInstall),
            ("AFTERINSTALL", Event::AfterInstall),
            ("After Install", Event::AfterInstall),
            (" AfterInstall\t", Event::AfterInstall),
            ("After_Install", Event::AfterInstall),
            ("before-allow-traffic", Event::BeforeAllowTraffic),
            ("AfterInstal", Event::AfterInstall),
            ("AfterInstalll", Event::AfterInstall),
            ("AfterInstell", Event::AfterInstall),
            ("AfterInstlal", Event::AfterInstall),
            ("AfterInstalls", Event::AfterInstall),
            ("fterInstall", Event::AfterInstall),
            ("after instal", Event::AfterInstall),
            ("BeforeInstall:", Event::BeforeInstall),
            ("ApplicationSatrt", Event::ApplicationStart),
            ("ApplicationStopp", Event::ApplicationStop),
            ("ValidateServices", Event::ValidateService),
        ] {
            assert_eq!(EventName::of(name), EventName::Misspelt(meant), "{name}");
        }
        for name in [
            "",
            "AfterInst",
            "AfterInstallation",
            "AfterInsatll2",
            "ApplicationSt",
            "AfterAllowTestTraffic",
            "BeforeApplicationStart",
            "CustomEvent",
            "LoginGithub",
            "install",
            "Instal",
            "runas",
            "hook",
            &"AfterInstall".repeat(1000),
        ] {
            assert_eq!(EventName::of(name), EventName::Unknown, "{name}");
        }
    }

    #[test]
    fn no_event_is_nearly_another_one() {
        for one in Event::ALL {
            for other in Event::ALL.into_iter().filter(|other| *other != one) {
                let (one, other) = (letters(one.name()), letters(other.name()));
                assert!(!is_one_edit(&one, &other));
            }
        }
    }
}
