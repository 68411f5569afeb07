//! The chart's roles for people, and what each may do with this program.

use libtest_mimic::Failed;

use crate::snapshot::Outcome;
use crate::support::Suite;

pub fn roles_are_enough_for_what_is_theirs(suite: &Suite) -> Result<(), Failed> {
    for role in ["viewer", "requester"] {
        let (name, role, user) = (format!("test:{role}"), format!("nodejoin:{role}"), format!("--user={role}"));
        bind(suite, &["clusterrolebinding", &name, "--clusterrole", &role, &user])?;
    }
    for namespace in ["kube-system", "kube-public"] {
        let namespace = format!("--namespace={namespace}");
        bind(suite, &["rolebinding", "test:enroller", "--role=nodejoin:enroller", "--user=enroller", &namespace])?;
    }
    let key = suite.announce("worker-1", "key")?;
    let act = |user: &str, arguments: &[&str]| suite.njr(&[arguments, &["--as", user]].concat());
    let views = act("viewer", &["machines"])?.good()?;
    let may_not_accept = act("viewer", &["accept", "worker-1", "--key", &key, "--yes"])?.with_code(1)?;
    let accepts = act("requester", &["accept", "worker-1", "--key", &key, "--yes"])?.good()?;
    let may_not_enroll = act("requester", &["enroll"])?.with_code(1)?;
    let enrolls = act("enroller", &["enroll", "--print-token"])?.good()?;
    let token = enrolls.stdout.trim().to_owned();
    suite.stands_for("<id>.<secret>", &token);
    suite.stands_for("<id>", &token[..6]);
    let may_not_list = act("enroller", &["token", "list"])?.with_code(1)?;
    let too_much = ["token", "create", "--groups", "system:bootstrappers:kubeadm:default-node-token"];
    let too_much = act("enroller", &too_much)?.with_code(1)?;
    let deletes = act("enroller", &["token", "delete", &token[..6]])?.good()?;
    let outcomes: [&Outcome; 8] =
        [&views, &may_not_accept, &accepts, &may_not_enroll, &enrolls, &may_not_list, &too_much, &deletes];
    suite.snapshot("rights", &outcomes)
}

fn bind(suite: &Suite, arguments: &[&str]) -> Result<(), Failed> {
    suite.operator().kubectl(&[&["create"], arguments].concat())?;
    Ok(())
}
