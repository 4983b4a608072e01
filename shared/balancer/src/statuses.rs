//! Statuses of HTTP that count as healthy, as a person writes them: `200-399`, or `200,204,301-303`.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::settings_error::SettingsError;

/// The most ranges that one can be made of.
const RANGES_MAX: usize = 20;

/// Ranges of statuses, each with both its ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Statuses(Vec<(u16, u16)>);

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl Statuses {
    /// Whether a status is one of them.
    pub(crate) fn hold(&self, status: StatusCode) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
    }
}

impl FromStr for Statuses {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let number = |text: &str| {
            let number = text.trim().parse::<u16>().ok();
            number.filter(|number| (100..=599).contains(number))
        };
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        let ranges = ranges.filter(|ranges| ranges.len() <= RANGES_MAX);
        ranges.map(Self).ok_or_else(|| SettingsError::HealthStatus { given: text.to_owned() })
    }
}

impl TryFrom<String> for Statuses {
    type Error = SettingsError;

    fn try_from(text: String) -> Result<Self, SettingsError> {
        text.parse()
    }
}

impl From<Statuses> for String {
    fn from(statuses: Statuses) -> Self {
        statuses.to_string()
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_as_they_are_written() {
        for (text, told) in [("200-399", "200-399"), (" 200 , 204, 300-303", "200,204,300-303")] {
            assert_eq!(text.parse::<Statuses>().unwrap().to_string(), told);
        }
        assert_eq!(Statuses::default().to_string(), "200-399");
        let many = vec!["200"; RANGES_MAX + 1].join(",");
        for wrong in ["", "200-", "399-200", "99", "200-600", "2xx", "200;204", "200,", &many] {
            let error = wrong.parse::<Statuses>().unwrap_err();
            assert!(error.to_string().contains("200-399"), "{error}");
        }
    }

    #[test]
    fn a_status_is_healthy_from_one_end_to_the_other() {
        let holds = |text: &str, status: u16| {
            text.parse::<Statuses>().unwrap().hold(StatusCode::from_u16(status).unwrap())
        };
        let healthy = [200, 204, 301, 399].map(|status| holds("200-399", status));
        assert_eq!(healthy, [true; 4]);
        let unhealthy = [100, 199, 400, 404, 500, 503].map(|status| holds("200-399", status));
        assert_eq!(unhealthy, [false; 6]);
        assert!(holds("200,404", 404) && !holds("200,404", 204));
    }
}
