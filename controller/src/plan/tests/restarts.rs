//! The controller dies between any two steps, as often as it likes.

use join_crds::vocabulary::Reason;
use proptest::prelude::*;
use serde_json::json;

use super::model::{Machine, Model, NODE};

/// Makes all steps, and restarts after those steps whose turn says so. A status is lost with the process that made it.
fn visit_with_restarts(model: &mut Model, restarts: &mut impl Iterator<Item = bool>) {
    for _ in 0..64 {
        if model.step().is_none() {
            model.write_status();
            // A restart here finds the status written; everything is still done.
            if model.step().is_none() {
                return;
            }
        }
        assert!(model.tokens.len() <= 1, "more than one token");
        if restarts.next().unwrap_or(false) {
            model.restart();
        }
    }
    panic!("no end");
}

proptest! {
    /// Wherever it dies, the join ends the same way: one token at a time, one certificate, nothing left over.
    #[test]
    fn a_join_converges(turns in proptest::collection::vec(any::<bool>(), 0..48), sealed in any::<bool>()) {
        let mut restarts = turns.into_iter();
        let mut model = Model::new(&json!({
            "delivery": if sealed { "Sealed" } else { "Token" },
            "nodeRegistration": { "labels": { "zone": "a" }, "taints": [{ "key": "startup", "effect": "NoSchedule" }] },
        }));
        let machine = Machine::new();
        model.announce(&machine);
        visit_with_restarts(&mut model, &mut restarts);
        prop_assert_eq!(&model.tokens, &[model.token_id()]);
        prop_assert!(model.is_signed());

        model.now += 2;
        let csr = model.ask(&machine.key, NODE);
        visit_with_restarts(&mut model, &mut restarts);
        model.now += 1;
        model.ask(&machine.key, NODE);
        visit_with_restarts(&mut model, &mut restarts);
        prop_assert_eq!(&model.approved, &[csr]);

        model.register("node-uid");
        visit_with_restarts(&mut model, &mut restarts);
        model.become_ready();
        model.now += 20;
        visit_with_restarts(&mut model, &mut restarts);
        prop_assert!(model.tokens.is_empty());
        prop_assert!(!model.is_signed());
        prop_assert_eq!(model.approved.len(), 1);
        prop_assert_eq!(model.summary(), (Reason::Joined, false));
        let record = model.record.as_ref().unwrap();
        prop_assert_eq!(record.node_uid.as_deref(), Some("node-uid"));
        prop_assert!(record.unspent().is_none());
    }
}
