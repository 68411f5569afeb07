//! Machines as a table, and as objects.

use std::collections::BTreeMap;

use join_checks::terminal::printable;
use join_trust::pin::PublicKeyPin;
use join_trust::token::TokenId;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::judge::{Machine, Status};
use crate::output::{self, Format, Table, age};

/// Hexadecimal digits in a group: what a person keeps in mind between two glances.
const GROUP: usize = 4;
/// Machines whose next step is said below the table. More than these from one token are a batch, or a flood.
const MOST_REMARKS: usize = 20;
/// Groups of a key in the plain table, 64 bits. To accept a machine, the whole key is needed.
const GROUPS_IN_TABLE: usize = 4;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MachineList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [Machine],
}

/// The machines in a format.
pub fn show(machines: &[Machine], format: Option<Format>, now: Timestamp) -> Result<String, output::Error> {
    let list = MachineList { api_version: "output.nodejoin.dev/v1alpha1", kind: "MachineList", items: machines };
    match format {
        Some(Format::Json) => output::json(&list),
        Some(Format::Yaml) => output::yaml(&list),
        Some(Format::Name) => {
            let names = machines.iter().map(|machine| machine.announcement.as_str());
            Ok(output::names("certificatesigningrequest.certificates.k8s.io", names))
        }
        None | Some(Format::Wide) if machines.is_empty() => Ok(String::new()),
        None => Ok(table(machines, now).render()),
        Some(Format::Wide) => Ok(wide(machines, now).render()),
    }
}

fn table(machines: &[Machine], now: Timestamp) -> Table {
    let mut table = Table::new(["NAME", "KEY", "ADDRESSES", "REQUEST", "STATUS", "AGE"]);
    for machine in machines {
        let key = machine.public_key_hash.map(|key| brief(&key)).unwrap_or_default();
        table.row(cells(machine, key, now));
    }
    table
}

fn wide(machines: &[Machine], now: Timestamp) -> Table {
    let mut table =
        Table::new(["NAME", "KEY", "ADDRESSES", "REQUEST", "STATUS", "AGE", "ANNOUNCEMENT", "ANNOUNCED-BY", "MESSAGE"]);
    for machine in machines {
        let key = machine.public_key_hash.map(|key| key.to_string()).unwrap_or_default();
        let more = [machine.announcement.clone(), machine.announced_by.clone(), machine.message.clone()];
        table.row(cells(machine, key, now).into_iter().chain(more));
    }
    table
}

fn cells(machine: &Machine, key: String, now: Timestamp) -> [String; 6] {
    let addresses: Vec<String> = machine.addresses.iter().map(ToString::to_string).collect();
    let request = machine.request.as_ref();
    // Before the controller has looked at it, a request has no reason to show.
    let request = request.map(|request| request.reason.clone().unwrap_or_else(|| "Unseen".to_owned()));
    [
        machine.name.clone().unwrap_or_else(|| "<invalid>".to_owned()),
        key,
        addresses.join(","),
        request.unwrap_or_default(),
        machine.status.as_str().to_owned(),
        age::since(machine.announced, now),
    ]
}

/// The beginning of a key, in groups.
fn brief(key: &PublicKeyPin) -> String {
    groups(key).into_iter().take(GROUPS_IN_TABLE).chain(["...".to_owned()]).collect::<Vec<_>>().join("-")
}

/// The digits of a key in groups, for people who read them to each other.
pub fn groups(key: &PublicKeyPin) -> Vec<String> {
    let digits: Vec<char> = key.to_hex().chars().collect();
    digits.chunks(GROUP).map(|group| group.iter().collect()).collect()
}

/// What to say below the table: nothing where all is as it should be.
pub fn remark(machines: &[Machine]) -> String {
    if machines.is_empty() {
        return "No machine has announced itself. A machine does when join-agent runs on it with the file that `kubectl \
                njr enroll` writes; see there what it waits for with: join-agent status"
            .to_owned();
    }
    let open = || machines.iter().filter(|machine| machine.status != Status::Accepted);
    let mut lines: Vec<String> = open()
        .take(MOST_REMARKS)
        .map(|machine| format!("{}: {}", machine.name.as_ref().unwrap_or(&machine.announcement), machine.message))
        .collect();
    let left = open().count().saturating_sub(MOST_REMARKS);
    if left > 0 {
        lines.push(format!("... and {left} more; each with its next step: kubectl njr machines -o wide"));
        lines.extend(many(open()));
    }
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.join("\n")) }
}

/// Who announced so many machines that nobody accepted: a batch of an administrator's, or a flood.
fn many<'a>(machines: impl Iterator<Item = &'a Machine>) -> Vec<String> {
    let mut announced: BTreeMap<&str, usize> = BTreeMap::new();
    for machine in machines {
        *announced.entry(&machine.announced_by).or_default() += 1;
    }
    let many = announced.into_iter().filter(|(_, number)| *number > MOST_REMARKS);
    many.map(|(user, number)| {
        let begin =
            format!("{number} of these were announced by {}; if they are not a batch of yours, ", printable(user));
        match TokenId::from_user_name(user) {
            Some(id) => format!(
                "{begin}somebody has that enrollment token: take it back with: kubectl njr token delete {}",
                id.as_str()
            ),
            None => format!("{begin}find out who that is"),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use join_trust::announcement::AnnouncementError;

    use super::super::judge::judge;
    use super::super::judge::tests::{announced, pin};
    use super::*;

    fn machines() -> Vec<Machine> {
        let mut invalid = announced("w", "b", 1);
        invalid.object = "evil\u{1b}[2J".to_owned();
        invalid.content = Err(AnnouncementError::NoSealingKey);
        judge(&[invalid, announced("worker-1", "a", 697), announced("w", "c", 990)], &[], Some(&BTreeSet::new()))
    }

    #[test]
    fn the_table_shows_the_beginning_of_each_key() {
        let now = Timestamp::from_second(1000).unwrap();
        let text = show(&machines(), None, now).unwrap();
        let expected = "\
NAME        KEY                       ADDRESSES    REQUEST   STATUS    AGE
w           2e7d-2c03-a950-7ae2-...   192.0.2.17   <none>    New       10s
worker-1    ca97-8112-ca1b-bdca-...   192.0.2.17   <none>    New       5m3s
<invalid>   <none>                    <none>       <none>    Invalid   16m
";
        assert_eq!(text, expected);
        assert_eq!(pin("a").to_hex()[..16], *"ca978112ca1bbdca");
    }

    #[test]
    fn the_wide_table_has_what_can_be_copied_and_nothing_that_a_terminal_obeys() {
        let now = Timestamp::from_second(1000).unwrap();
        let text = show(&machines(), Some(Format::Wide), now).unwrap();
        assert!(text.contains(&format!("{}   192.0.2.17", pin("a"))), "{text}");
        assert!(text.contains("evil\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn objects_have_every_field_and_an_empty_list_is_one() {
        let now = Timestamp::from_second(1000).unwrap();
        let json: serde_json::Value =
            serde_json::from_str(&show(&machines(), Some(Format::Json), now).unwrap()).unwrap();
        assert_eq!(json["kind"], "MachineList");
        assert_eq!(json["items"][1]["publicKeyHash"], pin("a").to_string());
        assert_eq!(json["items"][1]["announced"], "1970-01-01T00:11:37Z");
        let yaml = show(&[], Some(Format::Yaml), now).unwrap();
        assert_eq!(yaml, "apiVersion: output.nodejoin.dev/v1alpha1\nitems: []\nkind: MachineList\n");
        assert_eq!(show(&[], None, now).unwrap(), "");
    }

    #[test]
    fn the_remark_says_what_to_type() {
        let remark = remark(&machines());
        let accept = format!("kubectl njr accept worker-1 --key {}", pin("a"));
        assert!(remark.contains(&accept), "{remark}");
        assert!(super::remark(&[]).contains("kubectl njr enroll"));
    }

    #[test]
    fn a_flood_is_told_with_its_token_and_cut() {
        let flood: Vec<_> = (0..1000).map(|number| announced(&format!("f-{number}"), "a", number)).collect();
        let remark = remark(&judge(&flood, &[], None));
        assert_eq!(remark.lines().count(), MOST_REMARKS + 3, "{remark}");
        assert!(remark.contains("... and 980 more"), "{remark}");
        let told = "1000 of these were announced by system:bootstrap:abcdef";
        assert!(remark.contains(told) && remark.contains("kubectl njr token delete abcdef"), "{remark}");
    }

    #[test]
    fn another_who_floods_is_named_in_one_line() {
        let mut flood: Vec<_> = (0..50).map(|number| announced(&format!("f-{number}"), "a", number)).collect();
        for one in &mut flood {
            one.requested_by = "jane\n".to_owned();
        }
        let remark = remark(&judge(&flood, &[], None));
        let told = "50 of these were announced by jane\\n; if they are not a batch of yours, find out who that is";
        assert!(remark.ends_with(told), "{remark}");
    }
}
