//! A lab's network: a bridge in a network namespace of its own, and a namespace with one interface per member.
//! Nothing is connected to the host's own network.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command::{self, Error};
use super::layout::{GATEWAY, Layout};

const BRIDGE: &str = "bridge";

/// The file by which a named network namespace is entered.
pub fn namespace_file(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// Moves the calling thread into a named network namespace.
pub fn enter_namespace(name: &str) -> std::io::Result<()> {
    let file = File::open(namespace_file(name))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Listens within a named network namespace. The listener does not block.
pub fn listen(namespace: &str, address: SocketAddr) -> std::io::Result<TcpListener> {
    let namespace = namespace.to_owned();
    // A thread of its own, as in [`connect`].
    let listening = std::thread::spawn(move || {
        enter_namespace(&namespace)?;
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listening.join().unwrap_or_else(|_| Err(std::io::Error::other("the listening thread panicked")))
}

/// Connects from within a named network namespace. A socket stays in the namespace that it was made in, so the stream
/// can be used from any thread afterwards.
pub fn connect(namespace: &str, address: SocketAddr) -> std::io::Result<TcpStream> {
    let namespace = namespace.to_owned();
    // A thread of its own: the namespace is a thread's property, and no pooled thread may be left in another one.
    std::thread::spawn(move || {
        enter_namespace(&namespace)?;
        TcpStream::connect(address)
    })
    .join()
    .unwrap_or_else(|_| Err(std::io::Error::other("the connecting thread panicked")))
}

/// Runs a list of `ip` commands in a namespace, by one process; the first that fails ends it.
fn ip_batch(namespace: &str, lines: &[String]) -> Result<(), Error> {
    let mut command = Command::new("ip");
    command.args(["-netns", namespace, "-batch", "-"]);
    let describe = || format!("ip -batch: {}", lines.join("; "));
    let start = |source| Error::Start { command: describe(), source };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all((lines.join("\n") + "\n").as_bytes()).map_err(start)?;
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let output_text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Failed { command: describe(), status: output.status, output: output_text })
}

/// Sets kernel parameters in a network namespace.
fn sysctl(namespace: &str, settings: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace_file(namespace).display())).args(["sysctl", "-q", "-w"]).args(settings);
    command::run(&mut command).map(drop)
}

/// Makes a network namespace; fails if one of that name exists.
pub fn create_namespace(name: &str) -> Result<(), Error> {
    command::run(Command::new("ip").args(["netns", "add", name]))?;
    ip_batch(name, &["link set lo up".to_owned()])
}

/// Removes a network namespace.
pub fn delete_namespace(name: &str) -> Result<(), Error> {
    command::run(Command::new("ip").args(["netns", "delete", name])).map(drop)
}

/// Makes the bridge in its namespace, which must exist.
pub fn create_bridge(layout: &Layout) -> Result<(), Error> {
    let namespace = layout.bridge_namespace();
    ip_batch(
        &namespace,
        &[
            format!("link add {BRIDGE} type bridge"),
            format!("address add {GATEWAY}/24 dev {BRIDGE}"),
            format!("link set {BRIDGE} up"),
        ],
    )?;
    sysctl(&namespace, &["net.ipv4.ip_forward=1"])
}

/// Connects a member's namespace, which must exist, to the bridge.
///
/// A default route is needed even inside the lab: a Service address is routed before it is translated.
pub fn connect_member(layout: &Layout, member: &str, port: &str, address: Ipv4Addr) -> Result<(), Error> {
    let (bridge, namespace) = (layout.bridge_namespace(), layout.network_namespace(member));
    ip_batch(
        &bridge,
        &[
            format!("link add {port} type veth peer name eth0 netns {namespace}"),
            format!("link set {port} master {BRIDGE} up"),
        ],
    )?;
    ip_batch(
        &namespace,
        &[
            format!("address add {address}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via {GATEWAY}"),
        ],
    )?;
    sysctl(&namespace, &["net.ipv4.ip_forward=1"])
}

/// Routes a machine's pods to it.
pub fn route_pods(layout: &Layout, pods: &str, machine: Ipv4Addr) -> Result<(), Error> {
    ip_batch(&layout.bridge_namespace(), &[format!("route replace {pods} via {machine}")])
}

/// Takes a member off the bridge (its packets vanish; its interface stays up), or puts it back.
pub fn set_connected(layout: &Layout, port: &str, connected: bool) -> Result<(), Error> {
    let change =
        if connected { format!("link set {port} master {BRIDGE}") } else { format!("link set {port} nomaster") };
    ip_batch(&layout.bridge_namespace(), &[change])
}
