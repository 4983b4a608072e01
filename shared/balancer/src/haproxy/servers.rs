//! What HAProxy tells of the servers of a backend, read from `show servers state` and `show stat`. The first knows what
//! was asked of a server even while it is down, the second what goes on there.

use std::collections::BTreeMap;

use control::ports::Standing;

/// Bits of the administrative state that mean maintenance, forced, inherited or for want of an address. That it was
/// `disabled` in the configuration is a bit of its own (0x04), which stays when the server is made ready.
const MAINT: u32 = 0x01 | 0x02 | 0x20 | 0x40;
/// Bits of it that mean drain, forced or inherited.
const DRAIN: u32 = 0x08 | 0x10;

/// A server of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    /// HAProxy would give it traffic; or it has no check, and HAProxy does not know.
    pub(super) is_up: bool,
    /// Neither drained nor in maintenance.
    pub(super) is_ready: bool,
    /// Requests or connections that it has now.
    pub(super) busy: u64,
    /// The weight that is in effect.
    pub(super) weight: u32,
    /// HAProxy checks its health.
    pub(super) has_check: bool,
    /// What the last check found, where it did not succeed.
    pub(super) said: Option<String>,
}

impl Server {
    /// How it stands, in the words of the port. One that was given up is out, whatever it still has.
    pub(super) fn standing(&self, is_given_up: bool) -> Standing {
        match (self.is_ready, self.is_up) {
            (false, _) if self.busy > 0 && !is_given_up => Standing::Draining,
            (false, _) => Standing::Out,
            (true, true) => Standing::In,
            (true, false) => Standing::Starting(self.said.clone()),
        }
    }

    /// Whether it counts when traffic is shared.
    pub(super) fn takes_traffic(&self) -> bool {
        self.is_up && self.is_ready
    }
}

/// The servers of a backend, given the answers to both commands; what is wrong with an answer otherwise.
pub(super) fn parse(state: &str, stat: &str) -> Result<Vec<Server>, String> {
    let mut stats = parse_stat(stat)?;
    let mut lines = state.lines().skip_while(|line| !line.starts_with('#'));
    let header = lines.next().ok_or_else(|| unexpected(state))?;
    let columns: Vec<&str> = header.trim_start_matches('#').split_whitespace().collect();
    let mut servers = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let fields: BTreeMap<&str, &str> =
            columns.iter().copied().zip(line.split_whitespace()).collect();
        let number = |name| fields.get(name).and_then(|text| text.parse::<u32>().ok());
        let known = (fields.get("srv_name"), number("srv_op_state"), number("srv_admin_state"));
        let (Some(name), Some(operational), Some(administrative)) = known else {
            return Err(unexpected(line));
        };
        // A server that was added between the two answers is seen the next time.
        let Some(stat) = stats.remove(*name) else { continue };
        servers.push(Server {
            name: (*name).to_owned(),
            // 1 is a server that is starting slowly, which gets some; 0 is down, 3 is going down.
            is_up: matches!(operational, 1 | 2),
            is_ready: administrative & (MAINT | DRAIN) == 0,
            ..stat
        });
    }
    Ok(servers)
}

fn parse_stat(text: &str) -> Result<BTreeMap<String, Server>, String> {
    let mut lines = text.lines();
    let header = lines.next().and_then(|line| line.strip_prefix("# "));
    let columns = fields(header.ok_or_else(|| unexpected(text))?);
    let mut servers = BTreeMap::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let fields = fields(line);
        let field = |name: &str| {
            let place = columns.iter().position(|column| column == name)?;
            fields.get(place).map(String::as_str)
        };
        let (Some(name), Some(status)) = (field("svname"), field("status")) else {
            return Err(unexpected(line));
        };
        let busy = field("scur").and_then(|text| text.parse().ok());
        let weight = field("weight").and_then(|text| text.parse().ok());
        let (Some(busy), Some(weight)) = (busy, weight) else { return Err(unexpected(line)) };
        let check = field("check_status").filter(|status| !status.is_empty());
        let said = [Some(status), check, field("last_chk")];
        let said: Vec<&str> = said.into_iter().flatten().filter(|text| !text.is_empty()).collect();
        let said = Some(said.join(" "));
        let name = name.to_owned();
        let has_check = check.is_some();
        let (is_up, is_ready) = (false, false);
        let server = Server { name: name.clone(), is_up, is_ready, busy, weight, has_check, said };
        servers.insert(name, server);
    }
    Ok(servers)
}

/// The fields of a line of CSV; one in double quotes may hold commas, and a quote as two of them.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

/// HAProxy's answer, where it is not what was asked for; most often a line that says what is wrong.
pub(super) fn unexpected(text: &str) -> String {
    let line: String = text.trim().lines().next().unwrap_or_default().chars().take(200).collect();
    if line.is_empty() { "it answered nothing".to_owned() } else { format!("it answered `{line}`") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATE: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n\
        3 web 1 blue-1 127.0.0.1 0 0 1\n3 web 2 blue-2 127.0.0.1 2 0 77\n3 web 3 blue-3 127.0.0.1 2 8 1\n\
        3 web 4 blue-4 127.0.0.1 0 8 1\n3 web 5 blue-5 127.0.0.1 0 5 1\n3 web 6 blue-6 127.0.0.1 3 0 1\n";
    const STAT: &str = "# pxname,svname,scur,status,weight,check_status,last_chk,\n\
        web,blue-1,0,DOWN,1,L4CON,Connection refused,\nweb,blue-2,5,UP,77,L7OK,,\nweb,blue-3,2,DRAIN,1,,,\n\
        web,blue-4,0,DOWN,1,L7STS,\"HTTP, \"\"404\"\"\",\nweb,blue-5,0,MAINT,1,,,\nweb,blue-6,0,NOLB,1,L7OKC,,\n";

    #[test]
    fn a_server_stands_as_haproxy_says() {
        let servers = parse(STATE, STAT).unwrap();
        let standing: Vec<Standing> = servers.iter().map(|server| server.standing(false)).collect();
        let starting = |text: &str| Standing::Starting(Some(text.into()));
        let expected = [
            starting("DOWN L4CON Connection refused"),
            Standing::In,
            Standing::Draining,
            // It was drained while it was down, of which `show stat` says nothing.
            Standing::Out,
            Standing::Out,
            starting("NOLB L7OKC"),
        ];
        assert_eq!(standing, expected);
        assert_eq!(servers[2].standing(true), Standing::Out);
        assert_eq!(servers[1].standing(true), Standing::In);
        assert_eq!(servers[1].weight, 77);
        let checked: Vec<bool> = servers.iter().map(|server| server.has_check).collect();
        assert_eq!(checked, [true, true, false, true, false, true]);
        assert_eq!(servers[3].said.as_deref(), Some("DOWN L7STS HTTP, \"404\""));
    }

    #[test]
    fn an_answer_of_another_kind_is_shown_instead_of_read() {
        assert_eq!(
            parse("Can't find backend.", STAT).unwrap_err(),
            "it answered `Can't find backend.`"
        );
        assert_eq!(
            parse(STATE, "Permission denied\n").unwrap_err(),
            "it answered `Permission denied`"
        );
        assert_eq!(parse(STATE, "").unwrap_err(), "it answered nothing");
        let short = "# pxname,svname,scur\nweb,blue-1,0\n";
        assert!(parse(STATE, short).unwrap_err().contains("web,blue-1,0"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(state in r#"[#a-z0-9_ \n]{0,80}"#, stat in r#"[#a-z0-9,"\n]{0,80}"#) {
            drop(parse(&state, &stat));
            drop(parse(&format!("{STATE}{state}"), &format!("{STAT}{stat}")));
        }
    }
}
