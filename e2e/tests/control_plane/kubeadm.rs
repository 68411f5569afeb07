//! Stock kubeadm: that it can shows that the lab is a place where a control plane can be joined.

use std::path::PathBuf;

use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::kubeadm;
use join_e2e::lab::{Lab, own_name};
use join_e2e::operator::Operator;
use join_e2e::suite::{attempt, keep_logs};
use libtest_mimic::Failed;

use super::sound::{NAME, is_a_sound_control_plane};

pub fn joins_a_second_control_plane() -> Result<(), Failed> {
    let minor = KubernetesMinor::V1_37;
    let lab = Lab::start(&own_name("t-cp")?, minor, Components::build(minor)?)?;
    attempt(|| joins(&lab)).map_err(|message| {
        let logs = keep_logs(&Operator::installed(&lab, PathBuf::new()), "kubeadm_joins_a_second_control_plane");
        format!("{message}\nlogs: {logs}").into()
    })
}

fn joins(lab: &Lab) -> Result<(), Failed> {
    let machine = lab.add_control_plane_machine(NAME)?;
    lab.add_etcd_pod_stub()?;
    kubeadm::join_control_plane(lab, &machine, &lab.upload_certificates()?)?;

    is_a_sound_control_plane(lab, &machine)
}
