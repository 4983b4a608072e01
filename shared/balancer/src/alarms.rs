//! Alarms on what the built-in balancer measures: `BALANCER METRIC>LIMIT`, with ` over 10s` and ` of 10` where wanted,
//! and `BALANCER errors worse than baseline at 1%`, which has a judge compare the version with all others. They read what
//! a version brought by itself, so an old version's errors do not stop a new one.

use std::str::FromStr;
use std::time::Duration;

use control::ports::Reading;
use engine::DeploymentId;
use thiserror::Error;

use super::measure::{KEPT, Window};
use super::set::Balancers;
use super::trials::Compared;

/// The time that an alarm looks back if it does not say.
const DEFAULT_OVER: Duration = Duration::from_secs(10);
/// The requests that an alarm needs if it does not say.
const DEFAULT_LEAST: u64 = 10;
/// The shortest time that an alarm can look back: measurements are not finer.
const OVER_MIN: Duration = Duration::from_millis(100);
/// The highest limit of a latency.
const LATENCY_MAX: Duration = Duration::from_secs(3_600);

/// An alarm, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// The balancer, without a scheme.
    pub balancer: String,
    /// What has to be for it to fire.
    pub condition: Condition,
}

/// What has to be for an alarm to fire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition {
    /// The version exceeds a limit.
    Exceeds {
        /// Which.
        limit: Limit,
        /// How far it looks back.
        over: Duration,
        /// With fewer requests than this it does not fire.
        least: u64,
    },
    /// The version is shown to be worse than what else runs.
    Worse(Compared),
}

/// A metric and its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// The share of requests that went wrong, from 0 to 1.
    ErrorRate(f64),
    /// The latency that half of the answers do not exceed.
    P50(Duration),
    /// The latency that 95 % of the answers do not exceed.
    P95(Duration),
    /// The latency that 99 % of the answers do not exceed.
    P99(Duration),
}

/// What is wrong with an alarm's text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AlarmError {
    /// It is built in another way.
    #[error(
        "write it like `home:web error_rate>5%`, `home:web p99>300ms over 30s of 100` or `home:web errors worse than baseline at 1%`"
    )]
    Form,
    /// Nothing that is compared.
    #[error("`{what}` cannot be compared: use `errors` or `latency`")]
    Compared {
        /// What stands there.
        what: String,
    },
    /// Not a chance.
    #[error(
        "`at {chance}` cannot be: use the chance at which a good version may be rejected, from `0.0001%` to `50%`"
    )]
    Chance {
        /// What stands there.
        chance: String,
    },
    /// No such metric.
    #[error("`{metric}` is no metric: use `error_rate`, `p50`, `p95` or `p99`")]
    Metric {
        /// What stands there.
        metric: String,
    },
    /// Not a share.
    #[error(
        "`{limit}` is no limit for `error_rate`: use a share from `0%` to `100%`, or from `0` to `1`"
    )]
    Share {
        /// What stands there.
        limit: String,
    },
    /// Not a latency.
    #[error(
        "`{limit}` is no limit for `{metric}`: use a time like `300ms` or `1.5s`, at most an hour"
    )]
    Latency {
        /// The metric.
        metric: String,
        /// What stands there.
        limit: String,
    },
    /// Not a time to look back.
    #[error(
        "`over {over}` cannot be: use a time from `100ms` to `60s`, which is how long measurements are kept"
    )]
    Over {
        /// What stands there.
        over: String,
    },
    /// Not a number of requests.
    #[error("`of {least}` cannot be: use the least number of requests, from 1")]
    Least {
        /// What stands there.
        least: String,
    },
    /// Something else follows.
    #[error(
        "`{word}` is not understood: after the limit come `over TIME` and `of REQUESTS`, each once"
    )]
    Surplus {
        /// What stands there.
        word: String,
    },
}

impl FromStr for Alarm {
    type Err = AlarmError;

    /// Parses what follows `home:`.
    fn from_str(text: &str) -> Result<Self, AlarmError> {
        let (balancer, condition) =
            text.trim().split_once(char::is_whitespace).ok_or(AlarmError::Form)?;
        let balancer = balancer.to_owned();
        let Some((metric, rest)) = condition.split_once('>') else {
            return Ok(Self {
                balancer,
                condition: Condition::Worse(parse_comparison(condition)?),
            });
        };
        let mut words = rest.split_whitespace();
        let limit = Limit::parse(metric.trim(), words.next().ok_or(AlarmError::Form)?)?;
        let (mut over, mut least) = (None, None);
        while let Some(word) = words.next() {
            let value = words.next();
            match (word, value) {
                ("over", Some(value)) if over.is_none() => over = Some(parse_over(value)?),
                ("of", Some(value)) if least.is_none() => least = Some(parse_least(value)?),
                _ => return Err(AlarmError::Surplus { word: word.to_owned() }),
            }
        }
        let (over, least) = (over.unwrap_or(DEFAULT_OVER), least.unwrap_or(DEFAULT_LEAST));
        Ok(Self { balancer, condition: Condition::Exceeds { limit, over, least } })
    }
}

impl Limit {
    fn parse(metric: &str, limit: &str) -> Result<Self, AlarmError> {
        let latency = || {
            let found = parse_time(limit).filter(|time| *time <= LATENCY_MAX);
            let (metric, limit) = (metric.to_owned(), limit.to_owned());
            found.ok_or(AlarmError::Latency { metric, limit })
        };
        match metric {
            "error_rate" => {
                let found = parse_share(limit);
                found
                    .map(Self::ErrorRate)
                    .ok_or_else(|| AlarmError::Share { limit: limit.to_owned() })
            }
            "p50" => latency().map(Self::P50),
            "p95" => latency().map(Self::P95),
            "p99" => latency().map(Self::P99),
            _ => Err(AlarmError::Metric { metric: metric.to_owned() }),
        }
    }

    /// What was measured beside the limit, for people.
    fn told(self, window: &Window, least: u64) -> String {
        let (requests, few) = (window.requests, window.requests < least);
        let plural = if requests == 1 { "" } else { "s" };
        let latency = |name: &str, found: Option<Duration>, limit| {
            let found = found.map_or_else(|| "unknown".to_owned(), millis);
            (format!("{name} of {requests} request{plural} is {found}"), millis(limit))
        };
        let (found, limit) = match self {
            #[expect(clippy::cast_precision_loss, reason = "a minute has less than 2^52 requests")]
            Self::ErrorRate(limit) => {
                let share = window.errors as f64 / requests.max(1) as f64;
                (format!("{} of {requests} request{plural}", percent(share)), percent(limit))
            }
            Self::P50(limit) => latency("p50", window.p50, limit),
            Self::P95(limit) => latency("p95", window.p95, limit),
            Self::P99(limit) => latency("p99", window.p99, limit),
        };
        let from = if few { format!(" from {least} requests on") } else { String::new() };
        match requests {
            0 => format!("no requests, limit {limit}{from}"),
            _ => format!("{found}, limit {limit}{from}"),
        }
    }

    fn is_exceeded(self, window: &Window) -> bool {
        let slower = |found: Option<Duration>, limit| found.is_some_and(|found| found > limit);
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a minute has less than 2^52 requests")]
            Self::ErrorRate(limit) => window.errors as f64 > limit * window.requests as f64,
            Self::P50(limit) => slower(window.p50, limit),
            Self::P95(limit) => slower(window.p95, limit),
            Self::P99(limit) => slower(window.p99, limit),
        }
    }
}

/// A share, as a percentage with at most two decimals.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A latency in milliseconds, with at most one decimal.
fn millis(time: Duration) -> String {
    let text = format!("{:.1}", time.as_secs_f64() * 1_000.0);
    format!("{} ms", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Parses `errors worse than baseline at 1%`.
fn parse_comparison(text: &str) -> Result<Compared, AlarmError> {
    let mut words = text.split_whitespace();
    let what = words.next().ok_or(AlarmError::Form)?;
    if ["worse", "than", "baseline"].iter().any(|word| words.next() != Some(word)) {
        return Err(AlarmError::Form);
    }
    let chance = match (words.next(), words.next(), words.next()) {
        (None, _, _) => "1%",
        (Some("at"), Some(chance), None) => chance,
        (Some("at"), Some(_), Some(word)) | (Some(word), _, _) => {
            return Err(AlarmError::Surplus { word: word.to_owned() });
        }
    };
    let is_slow = match what {
        "errors" => false,
        "latency" => true,
        what => return Err(AlarmError::Compared { what: what.to_owned() }),
    };
    let compared = parse_share(chance).and_then(|chance| Compared::new(is_slow, chance));
    compared.ok_or_else(|| AlarmError::Chance { chance: chance.to_owned() })
}

/// A number as people write it: digits, and at most one point between them. Not `1e3`, `inf` or `-0`.
fn parse_number(text: &str) -> Option<f64> {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if is_digits(whole) && is_digits(fraction) { text.parse().ok() } else { None }
}

fn parse_share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => parse_number(percent)? / 100.0,
        None => parse_number(text)?,
    };
    (share <= 1.0).then_some(share)
}

fn parse_time(text: &str) -> Option<Duration> {
    let seconds = match text.strip_suffix("ms") {
        Some(millis) => parse_number(millis)? / 1_000.0,
        None => parse_number(text.strip_suffix('s')?)?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn parse_over(text: &str) -> Result<Duration, AlarmError> {
    let over = parse_time(text).filter(|over| (OVER_MIN..=KEPT).contains(over));
    over.ok_or_else(|| AlarmError::Over { over: text.to_owned() })
}

fn parse_least(text: &str) -> Result<u64, AlarmError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let least = text.parse().ok().filter(|least| digits && *least > 0);
    least.ok_or_else(|| AlarmError::Least { least: text.to_owned() })
}

/// What an alarm says, given what follows `home:`.
pub(super) fn read(balancers: &Balancers, text: &str, version: &DeploymentId) -> Reading {
    let alarm = match parse(text) {
        Ok(alarm) => alarm,
        Err(why) => return Reading::Unreadable(why),
    };
    let fires = match alarm.condition {
        Condition::Exceeds { limit, over, least } => {
            let found = balancers.measured(&alarm.balancer, version, over);
            found.map(|found| found.version.requests >= least && limit.is_exceeded(&found.version))
        }
        Condition::Worse(compared) => balancers.is_worse(&alarm.balancer, version, compared),
    };
    match fires {
        Some(true) => Reading::Firing,
        Some(false) => Reading::Quiet,
        None => Reading::Unreadable(without_balancer(&alarm, text)),
    }
}

/// Why an alarm cannot be read, given what follows `home:`.
pub(super) fn refusal(balancers: &Balancers, text: &str) -> Option<String> {
    match parse(text) {
        Ok(alarm) if balancers.totals(&alarm.balancer).is_some() => None,
        Ok(alarm) => Some(without_balancer(&alarm, text)),
        Err(why) => Some(why),
    }
}

fn parse(text: &str) -> Result<Alarm, String> {
    let parsed: Result<Alarm, AlarmError> = text.parse();
    parsed.map_err(|error| format!("the alarm `home:{text}` is not understood: {error}"))
}

fn without_balancer(alarm: &Alarm, text: &str) -> String {
    format!(
        "there is no balancer `{}` for the alarm `home:{text}`: name a balancer of this home (`cutover balancer list` shows them), or add it",
        alarm.balancer
    )
}

/// What an alarm has to say beyond that, given what follows `home:`.
pub(super) fn note(balancers: &Balancers, text: &str, version: &DeploymentId) -> Option<String> {
    let alarm: Alarm = text.parse().ok()?;
    match alarm.condition {
        Condition::Exceeds { limit, over, least } => {
            let found = balancers.measured(&alarm.balancer, version, over)?;
            Some(limit.told(&found.version, least))
        }
        Condition::Worse(compared) => balancers.verdict(&alarm.balancer, version, compared),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn alarms_are_read_as_they_are_written() {
        let check = |text: &str, limit, over, least| {
            let condition = Condition::Exceeds { limit, over, least };
            let expected = Alarm { balancer: "web".into(), condition };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        };
        let default = (ms(10_000), 10);
        check("web error_rate>5%", Limit::ErrorRate(0.05), default.0, default.1);
        check("web error_rate>0.05", Limit::ErrorRate(0.05), default.0, default.1);
        check("  web  error_rate > 100% ", Limit::ErrorRate(1.0), default.0, default.1);
        check("web p50>0ms", Limit::P50(ms(0)), default.0, default.1);
        check("web p95>1.5s over 500ms", Limit::P95(ms(1_500)), ms(500), 10);
        check("web p99>300ms over 60s of 100", Limit::P99(ms(300)), ms(60_000), 100);
        check("web p99>300ms of 1 over 1.5s", Limit::P99(ms(300)), ms(1_500), 1);
    }

    #[test]
    fn a_comparison_is_read_as_it_is_written() {
        let check = |text: &str, is_slow, chance| {
            let condition = Condition::Worse(Compared::new(is_slow, chance).unwrap());
            let expected = Alarm { balancer: "web".into(), condition };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        };
        check("web errors worse than baseline at 1%", false, 0.01);
        check("web  latency  worse than  baseline at 0.5% ", true, 0.005);
        check("web errors worse than baseline", false, 0.01);
    }

    #[test]
    fn what_is_not_understood_is_said_with_the_word_that_is_wrong() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<Alarm>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        for text in ["", "web", "web p99", "web p99>", "error_rate>5%", "web p99<3s"] {
            check(text, "write it like `home:web");
        }
        check("web p90>3s", "`p90` is no metric");
        check("web error_rate>101%", "`101%` is no limit for `error_rate`");
        check("web error_rate>300ms", "`300ms` is no limit for `error_rate`");
        check("web error_rate>-1", "`-1` is no limit");
        check("web error_rate>inf", "`inf` is no limit");
        check("web p99>300", "`300` is no limit for `p99`");
        check("web p99>3601s", "`3601s` is no limit for `p99`");
        check("web p99>1e3s", "`1e3s` is no limit");
        check("web p99>3s over 61s", "`over 61s` cannot be");
        check("web p99>3s over 99ms", "`over 99ms` cannot be");
        check("web p99>3s of 0", "`of 0` cannot be");
        check("web p99>3s of +5", "`of +5` cannot be");
        check("web p99>3s of", "`of` is not understood");
        check("web p99>3s over 1s over 2s", "`over` is not understood");
        check("web p99>3s for 1s", "`for` is not understood");
        for text in ["web errors", "web errors worse", "web errors worse than it", "web errors < 3"]
        {
            check(text, "write it like `home:web");
        }
        check("web p99 worse than baseline", "`p99` cannot be compared: use `errors`");
        check("web errors worse than baseline by 1%", "`by` is not understood");
        check("web errors worse than baseline at 1% of 10", "`of` is not understood");
        for chance in ["60%", "0%", "1e3", "-1%", "0.00001%"] {
            let text = format!("web errors worse than baseline at {chance}");
            check(&text, &format!("`at {chance}` cannot be"));
        }
        check("web errors worse than baseline at", "`at` is not understood");
    }

    #[test]
    fn a_limit_has_to_be_exceeded_not_reached() {
        let window = Window { requests: 100, errors: 5, p99: Some(ms(300)), ..Window::default() };
        let fires = |text: &str| match text.parse::<Alarm>().unwrap().condition {
            Condition::Exceeds { limit, .. } => limit.is_exceeded(&window),
            Condition::Worse(compared) => panic!("{compared:?}"),
        };
        assert!(!fires("web error_rate>5%"));
        assert!(fires("web error_rate>4.99%"));
        assert!(!fires("web p99>300ms"));
        assert!(fires("web p99>299ms"));
        assert!(!fires("web p50>0ms"), "there is no such latency");
    }

    #[test]
    fn what_was_measured_is_told_beside_the_limit() {
        let told = |text: &str, window: Window| match text.parse::<Alarm>().unwrap().condition {
            Condition::Exceeds { limit, least, .. } => limit.told(&window, least),
            Condition::Worse(compared) => panic!("{compared:?}"),
        };
        let of = |requests, errors| Window { requests, errors, ..Window::default() };
        let alarm = "web error_rate>5%";
        assert_eq!(told(alarm, of(10, 3)), "30 % of 10 requests, limit 5 %");
        assert_eq!(told(alarm, of(300, 1)), "0.33 % of 300 requests, limit 5 %");
        assert_eq!(told(alarm, of(1, 1)), "100 % of 1 request, limit 5 % from 10 requests on");
        assert_eq!(told(alarm, of(0, 0)), "no requests, limit 5 % from 10 requests on");
        let slow = Window { p95: Some(ms(812)), ..of(40, 0) };
        assert_eq!(told("web p95>0.3s", slow), "p95 of 40 requests is 812 ms, limit 300 ms");
        assert_eq!(told("web p50>1.5ms", of(40, 0)), "p50 of 40 requests is unknown, limit 1.5 ms");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in r"\PC{0,60}") {
            drop(text.parse::<Alarm>());
        }

        #[test]
        fn no_text_that_is_nearly_an_alarm_makes_the_parser_panic(
            text in r"[a-z]{0,3} ?(error_rate|p50|p99)?>?[0-9.%ems+-]{0,400}( over [0-9.ms]{0,30})?( of [0-9]{0,30})?( worse than baseline at [0-9.%]{0,20})?"
        ) {
            drop(text.parse::<Alarm>());
        }
    }
}
