//! The sizes beyond which input is refused before anything parses it.
//!
//! A parser's work must be bounded by us and not by whoever sends the input (compare CVE-2024-12401, where PEM
//! parsing of unbounded input stalled cert-manager). All figures are bytes unless they say otherwise, and leave
//! real input at least a factor of four of room.

/// The longest PEM certificate signing request that is read: 16 KiB.
///
/// A kubelet's request with an RSA-8192 key and 32 names stays under 4 KiB.
pub const MAX_CSR_PEM_BYTES: usize = 16 * 1024;

/// The most subject alternative names of one request.
///
/// A machine has a handful of addresses; every name costs a comparison with every approved address.
pub const MAX_ALTERNATIVE_NAMES: usize = 32;

/// The longest kubeconfig text read from cluster-info or from a discovery file: 1 MiB.
///
/// Kubernetes limits a whole ConfigMap to 1 MiB.
pub const MAX_KUBECONFIG_BYTES: usize = 1024 * 1024;

/// The most parser events (scalars, beginnings and ends of lists and maps) of a YAML text.
///
/// A cluster of a kubeconfig with its context and user makes about 40, so this leaves room for 500 of them in a discovery
/// file. kubeadm's longest configurations stay under 1,000.
pub const MAX_YAML_EVENTS: usize = 20_000;

/// The most documents of one file of kubeadm's, which knows seven kinds and takes each once.
pub const MAX_YAML_DOCUMENTS: usize = 32;

/// The longest file with a JoinConfiguration in it: 64 KiB.
///
/// With every other kind that kubeadm reads beside it such a file has some 10 KiB.
pub const MAX_JOIN_CONFIGURATION_BYTES: usize = 64 * 1024;

/// The longest detached signature string that is compared.
///
/// Header and HMAC of a bootstrap token make 85 bytes.
pub const MAX_JWS_BYTES: usize = 512;

/// The longest PEM bundle of certificate authorities: 64 KiB.
pub const MAX_CA_BUNDLE_BYTES: usize = 64 * 1024;

/// The most certificates of one bundle.
///
/// During a rotation a cluster has two; bundles of a corporate PKI have a few more.
pub const MAX_CA_CERTIFICATES: usize = 32;

/// The longest private key file: 16 KiB.
pub const MAX_KEY_FILE_BYTES: usize = 16 * 1024;

/// The longest plaintext of sealed credentials: 80 KiB, a full CA bundle in JSON with its token and endpoint.
pub const MAX_CREDENTIALS_BYTES: usize = 80 * 1024;

/// The longest ciphertext of sealed credentials: the plaintext and the 16-byte tag of AES-256-GCM.
pub const MAX_CIPHERTEXT_BYTES: usize = MAX_CREDENTIALS_BYTES + 16;

/// The longest base64 text of that ciphertext, and so the bound of the field that carries it.
pub const MAX_CIPHERTEXT_BASE64_BYTES: usize = MAX_CIPHERTEXT_BYTES.div_ceil(3) * 4;

/// The longest node name: a DNS-1123 subdomain (RFC 1123, as Kubernetes applies it).
pub const MAX_NODE_NAME_BYTES: usize = 253;

/// The longest `host:port`: a DNS name, a colon and five digits.
pub const MAX_ENDPOINT_BYTES: usize = 253 + 1 + 5;

/// The longest URL of a discovery file: 8 KiB, the longest request line that common web servers take.
pub const MAX_URL_BYTES: usize = 8 * 1024;

/// The longest description written into a bootstrap token's Secret.
pub const MAX_TOKEN_DESCRIPTION_BYTES: usize = 1024;

/// The longest bearer token accepted from a discovery file: 16 KiB (ServiceAccount and OIDC tokens are JWTs).
pub const MAX_BEARER_TOKEN_BYTES: usize = 16 * 1024;
