//! An enrollment token beside a discovery file: `kubeadm join --discovery-file FILE --tls-bootstrap-token TOKEN`.
//!
//! The file says who the cluster is, and the token is for that cluster alone: neither the web server that has the file gets
//! to see it, nor a server whose certificate is not of the file's authority, nor anybody before that is known.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use join_agent::discovery::{self, Discovered, Error, Origin};
use join_crds::vocabulary::Reason;
use join_trust::kubeconfig::DiscoveryFile;
use rcgen::date_time_ymd;

use crate::authority::{Authority, signed, text, token};
use crate::stub::{Stub, Way};
use crate::web::{Checked, SECRETS, TOKEN, cluster, kubeconfig, url_of, web};

/// A user who has nothing to show, as in the kubeconfig of cluster-info.
const NOBODY: &str = "{}";
const OTHER: &str = "token: ffffff.ffffffffffffffff";

/// As the agent does it, with a file that lies on the machine.
async fn by_path(text: &str) -> Result<Discovered, Error> {
    let file = DiscoveryFile::parse(text).unwrap();
    discovery::by_file(Origin::Path(Path::new("/etc/d.conf")), &file, Some(&token())).await
}

/// As the agent does it, with a file that this web server has.
async fn by_url(web: &Stub, root: &Authority) -> Result<Discovered, Error> {
    let url = url_of(web);
    let file = discovery::fetch_file_by(&url, root.root()).await?;
    discovery::by_file(Origin::Url(&url), &file, Some(&token())).await
}

fn refused(found: Result<Discovered, Error>) -> Error {
    let Err(failure) = found else { panic!("the agent believes it") };
    assert!(!format!("{failure} {failure:?}").contains(SECRETS[0]), "the token is told: {failure:?}");
    failure
}

/// Without an attacker: the cluster is asked as nobody first, and then with the token, whoever else the file names.
#[tokio::test]
async fn the_cluster_gets_the_token_that_is_beside_its_file() {
    let (root, real) = (Authority::named("web"), Authority::new());
    for user in [NOBODY, OTHER, "client-certificate: /nonexistent\n    client-key: /nonexistent"] {
        let cluster = cluster(&real).await;
        let found = by_path(&kubeconfig(&cluster, &real, user)).await.unwrap_or_else(|error| panic!("{user}: {error}"));
        assert!(cluster.requests() > 0 && cluster.authorizations().is_empty(), "nobody was announced yet");
        discovery::ask(&found.client, &found.cluster.endpoint).await.unwrap();
        assert_eq!(cluster.authorizations(), ["Bearer abcdef.0123456789abcdef"], "{user}");
    }
    for user in [NOBODY, OTHER] {
        let cluster = cluster(&real).await;
        let web = web(&root.server(), kubeconfig(&cluster, &real, user)).await;
        let found = by_url(&web, &root).await.unwrap_or_else(|error| panic!("{user}: {error}"));
        assert!(cluster.requests() > 0 && cluster.authorizations().is_empty(), "nobody was announced yet");
        discovery::ask(&found.client, &found.cluster.endpoint).await.unwrap();
        assert_eq!(cluster.authorizations(), ["Bearer abcdef.0123456789abcdef"], "{user}");
        assert!(web.requests() == 1 && !web.was_told_a_secret(), "the web server is not who the token is for");
    }
}

/// The file's authority has the last word, for the first connection and for each that follows.
#[tokio::test]
async fn the_token_beside_a_file_is_kept_from_other_servers() {
    let (real, other) = (Authority::new(), Authority::new());
    let elsewhere = real.server_with(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("api.example".try_into().unwrap())];
    });
    let long_ago = real.server_with(|params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    for (certificate, reason) in [
        (other.server(), Reason::ServerAuthorityUnknown),
        (elsewhere, Reason::ServerNameMismatch),
        (long_ago, Reason::ServerCertificateExpired),
    ] {
        let answer = |certificate: &_, server: &_| Way::cluster_info(certificate, signed(&text(server, &[&real])));
        let at_once = Stub::start(|server| vec![answer(&certificate, server)]).await;
        let failure = refused(by_path(&kubeconfig(&at_once, &real, NOBODY)).await);
        assert_eq!(failure.reason(), reason, "{failure}");
        assert!(at_once.connections() > 0 && !at_once.was_told_a_secret(), "{reason}");

        // Whoever answers the first question need not be who answers the second.
        let ways = |server: &_| vec![answer(&real.server(), server), answer(&certificate, server)];
        let later = Stub::start(ways).await;
        let found = by_path(&kubeconfig(&later, &real, NOBODY)).await;
        let found = found.unwrap_or_else(|error| panic!("{reason}: {error}"));
        let failure = discovery::ask(&found.client, &found.cluster.endpoint).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure}");
        assert!(later.connections() > 1 && !later.was_told_a_secret(), "{reason}");
    }
}

/// A file that is not to be believed leads to nobody.
#[tokio::test]
async fn the_token_is_shown_to_nobody_before_the_file_is_believed() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    let good = kubeconfig(&cluster, &real, NOBODY);
    let exec = good.replace(NOBODY, "exec: {apiVersion: client.authentication.k8s.io/v1, command: /usr/bin/true}");
    for (certificate, file, reason) in [
        (Authority::named("web").server(), &good, Reason::DiscoveryFileNotFetched),
        // The cluster's own authority is none of the machine's roots.
        (real.server(), &good, Reason::DiscoveryFileNotFetched),
        // Refused although the token takes the user's place: kubeadm would run it for its first question.
        (root.server(), &exec, Reason::DiscoveryFileUnusable),
        (root.server(), &good.replace("certificate-authority-data", "x"), Reason::DiscoveryFileUnusable),
        (root.server(), &good.replace("server: https", "server: http"), Reason::DiscoveryFileUnusable),
    ] {
        let web = web(&certificate, file.clone()).await;
        let failure = refused(by_url(&web, &root).await);
        assert_eq!(failure.reason(), reason, "{failure}");
        assert!(web.connections() > 0 && !web.was_told_a_secret(), "{failure}");
    }
    assert_eq!(cluster.connections(), 0, "the cluster was asked");
}

/// `join-agent check` judges a file by what is beside it, as the service does, and shows nobody the token.
#[tokio::test]
async fn the_check_counts_the_token_beside_a_file() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let roots = write("ca.crt", &root.pem);
    let (beside, nothing) = (", tlsBootstrapToken: abcdef.0123456789abcdef", "");
    for (user, beside, verdict) in
        [(NOBODY, beside, "passed"), (TOKEN, nothing, "passed"), (TOKEN, beside, "passed"), (NOBODY, nothing, "failed")]
    {
        let file = kubeconfig(&cluster, &real, user);
        let web = web(&root.server(), file.clone()).await;
        let at_url = format!("https://{}/lab/discovery.conf?key=s3cret", web.address);
        let at_path = write("discovery.conf", &file).display().to_string();
        for (place, id) in [(&at_url, "DiscoveryFile"), (&at_path, "Configuration")] {
            let configuration = format!(
                "{{apiVersion: agent.nodejoin.dev/v1alpha1, kind: AgentConfiguration, stateDirectory: {}, discovery: {{file: \
                 {{kubeConfigPath: '{place}'}}{beside}}}}}",
                folder.path().join("state").display()
            );
            let report = Checked::run(&write("config.yaml", &configuration), "SSL_CERT_FILE", &roots).await;
            let (judged, tls) = (report.check(id), report.check("APIServerTLS"));
            assert_eq!(judged["verdict"], verdict, "{user} {beside}: {judged}");
            assert_eq!(tls["verdict"], if verdict == "passed" { "passed" } else { "skipped" }, "{tls}");
            let observed = judged["observed"].as_str().unwrap();
            let is_told = observed.contains("give it a user") && observed.contains("discovery.tlsBootstrapToken");
            assert_eq!(is_told, verdict == "failed", "{observed}");
        }
        assert!(!web.was_told_a_secret() && !cluster.was_told_a_secret(), "a check shows nobody the token");
    }
}
