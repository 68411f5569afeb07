use std::path::Path;

use rstest::rstest;

use super::*;

const OWN_URL: &str = "https://10.0.0.3:2380";

fn own() -> Own<'static> {
    Own { name: "c", peer_url: OWN_URL, data_folder: Path::new("/var/lib/etcd") }
}

/// A member: `name@number`, with `+` before the name of a learner. Without a name it has not been started.
fn member(text: &str) -> Member {
    let (is_learner, text) = text.strip_prefix('+').map_or((false, text), |text| (true, text));
    let (name, number) = text.split_once('@').unwrap();
    let client_urls = if name.is_empty() { Vec::new() } else { vec![format!("https://10.0.0.{number}:2379")] };
    Member {
        id: 0xa0 + number.parse::<u64>().unwrap(),
        name: name.to_owned(),
        peer_urls: vec![format!("https://10.0.0.{number}:2380")],
        client_urls,
        is_learner,
    }
}

fn members(text: &str) -> Vec<Member> {
    text.split_whitespace().map(member).collect()
}

/// What comes next in a few words.
fn words(step: Result<Step, Error>) -> String {
    match step {
        Ok(Step::Add) => "add".to_owned(),
        Ok(Step::Replace(member)) => format!("replace {:x}", member.id),
        Ok(Step::Start(initial_cluster)) => {
            let text = initial_cluster.to_string();
            format!("start {}", text.replace("https://10.0.0.", "").replace(":2380", ""))
        }
        Err(Error::NameTaken { id, .. }) => format!("name taken by {id:x}"),
        Err(Error::ForeignData { .. }) => "foreign data".to_owned(),
        Err(Error::LastVotingMember(_)) => "last".to_owned(),
        Err(other) => other.to_string(),
    }
}

#[rstest]
#[case::first_time("a@1", Data::None, "add")]
#[case::beside_another_learner("a@1 +b@2", Data::None, "add")]
#[case::added_and_killed("a@1 +@3", Data::None, "start a=1,c=3")]
#[case::started_and_not_yet_known("a@1 +@3", Data::Some, "start a=1,c=3")]
#[case::learner_runs("a@1 +c@3", Data::Some, "start a=1,c=3")]
#[case::votes("a@1 b@2 c@3", Data::Some, "start a=1,b=2,c=3")]
#[case::added_by_hand_as_voting("a@1 @3", Data::None, "start a=1,c=3")]
#[case::another_not_started("a@1 +@2 @3", Data::None, "start a=1,a2=2,c=3")]
#[case::had_another_name("a@1 old@3", Data::Some, "start a=1,c=3")]
#[case::installed_anew("a@1 b@2 c@3", Data::None, "replace a3")]
#[case::installed_anew_under_another_name("a@1 b@2 old@3", Data::None, "replace a3")]
#[case::installed_anew_as_a_learner("a@1 +c@3", Data::None, "replace a3")]
#[case::the_only_one_that_votes("+b@2 c@3", Data::None, "last")]
#[case::removed_meanwhile("a@1 b@2", Data::Some, "foreign data")]
#[case::another_address_before("a@1 c@2", Data::None, "name taken by a2")]
#[case::another_address_before_and_added("a@1 c@2 +@3", Data::None, "name taken by a2")]
fn a_join(#[case] listed: &str, #[case] data: Data, #[case] expected: &str) {
    assert_eq!(words(next(&members(listed), &own(), data)), expected);
}

#[test]
fn a_member_with_several_peer_urls_is_listed_with_each() {
    let mut listed = members("a@1 +@3");
    listed[0].peer_urls.push("https://10.1.0.1:2380".to_owned());
    listed[1].peer_urls.insert(0, "https://10.1.0.3:2380".to_owned());
    let Step::Start(initial_cluster) = next(&listed, &own(), Data::None).unwrap() else { panic!() };
    let urls = "a=https://10.0.0.1:2380,a=https://10.1.0.1:2380,c=https://10.1.0.3:2380,c=https://10.0.0.3:2380";
    assert_eq!(initial_cluster.to_string(), urls);
    assert_eq!(initial_cluster.members().last(), Some(("c", OWN_URL)));
}

#[rstest]
#[case::not_started("a@1 +@3", "not started")]
#[case::added_by_hand_and_not_started("a@1 @3", "not started")]
#[case::learner("a@1 +c@3", "promote a3")]
#[case::votes("a@1 c@3", "health of a3")]
#[case::gone("a@1 +b@2", "no member")]
fn a_promotion(#[case] listed: &str, #[case] expected: &str) {
    let seen = match progress(&members(listed), OWN_URL) {
        Ok(Progress::Promote(id)) => format!("promote {id:x}"),
        Ok(Progress::Health(id)) => format!("health of {id:x}"),
        Err(Error::NotStarted { .. }) => "not started".to_owned(),
        Err(Error::NotAMember(_)) => "no member".to_owned(),
        Err(other) => other.to_string(),
    };
    assert_eq!(seen, expected);
}

/// The answers: `+` is well, `l` knows of no leader, `e` has an alarm, `-` does not answer. Ours is the last one.
#[rstest]
#[case("+", true)]
#[case("++", true)]
#[case("-++", true)]
#[case("l++", true)]
#[case("--+", false)]
#[case("-+", false)]
#[case("e+", false)]
#[case("++-", false)]
#[case("++l", false)]
#[case("++e", false)]
fn a_cluster_is_healthy(#[case] answers: &str, #[case] expected: bool) {
    let answers: Vec<_> = (1..).zip(answers.chars()).collect();
    let answers: Vec<_> = answers
        .into_iter()
        .map(|(number, kind)| {
            let status = StatusResponse { header: None, leader: u64::from(kind != 'l'), errors: Vec::new() };
            let answer = match kind {
                '-' => Err("no answer".to_owned()),
                'e' => Ok(StatusResponse { errors: vec!["alarm:NOSPACE".to_owned()], ..status }),
                _ => Ok(status),
            };
            (member(&format!("m@{number}")), answer)
        })
        .collect();
    let own = answers.last().unwrap().0.id;
    assert_eq!(judge(own, &answers).is_ok(), expected);
}

#[test]
fn what_is_not_healthy_is_told_with_where() {
    let alarm = StatusResponse { header: None, leader: 1, errors: vec!["alarm:NOSPACE".to_owned()] };
    let said = judge(0xa3, &[(member("a@1"), Ok(alarm)), (member("c@3"), Err("no answer".to_owned()))]);
    let said = said.unwrap_err().to_string();
    assert!(said.contains("https://10.0.0.1:2380: alarm:NOSPACE; https://10.0.0.3:2380: no answer"), "{said}");
}

#[rstest]
#[case::by_url("a@1 c@3", Which::PeerUrl(OWN_URL), "a3")]
#[case::by_name("a@1 c@3", Which::Name("c"), "a3")]
#[case::not_started("a@1 +@3", Which::PeerUrl(OWN_URL), "a3")]
#[case::learner("a@1 +c@3", Which::Name("c"), "a3")]
#[case::gone("a@1", Which::PeerUrl(OWN_URL), "nothing")]
#[case::no_name_is_no_name("a@1 +@3", Which::Name(""), "nothing")]
#[case::last("c@3", Which::Name("c"), "last")]
#[case::last_beside_a_learner("+b@2 c@3", Which::PeerUrl(OWN_URL), "last")]
#[case::two_of_a_name("a@1 c@2 c@3", Which::Name("c"), "ambiguous")]
#[case::one_of_two_by_url("a@1 c@2 c@3", Which::PeerUrl(OWN_URL), "a3")]
fn a_leave(#[case] listed: &str, #[case] which: Which<'_>, #[case] expected: &str) {
    let seen = match leaving(&members(listed), which) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(id)) => format!("{id:x}"),
        Err(Error::LastVotingMember(_)) => "last".to_owned(),
        Err(Error::Ambiguous { .. }) => "ambiguous".to_owned(),
        Err(other) => other.to_string(),
    };
    assert_eq!(seen, expected);
}

#[test]
fn who_votes_and_is_started_is_asked() {
    let listed = members("a@1 b@2 +c@3 @4");
    let urls: Vec<_> = client_urls(&listed).collect();
    assert_eq!(urls, ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]);
}
