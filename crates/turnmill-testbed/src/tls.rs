//! Certificates for tests.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// An authority that servers and clients trust, or a stranger.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, as PKCS #8.
    pub key: String,
}

/// Paths of PEM files for the clients of a server.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate of the authority that signed the server's and the client's.
    pub ca: PathBuf,
    /// A client's certificate. The server takes its common name for the user.
    pub client_certificate: PathBuf,
    /// The key of the client's certificate.
    pub client_key: PathBuf,
    /// The certificate of an authority that signed nothing here. A client that uses it does not
    /// trust the server.
    pub stranger_ca: PathBuf,
    /// A client's certificate signed by the stranger, with the same common name. The server does
    /// not trust it.
    pub stranger_certificate: PathBuf,
    /// The key of the stranger's certificate.
    pub stranger_key: PathBuf,
}

impl Authority {
    /// Creates an authority with a new key.
    ///
    /// # Panics
    ///
    /// If no key can be generated.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: made(KeyPair::generate().and_then(|key| CertifiedIssuer::self_signed(params, key))) }
    }

    /// Returns the authority's own certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Creates a certificate for a server at `localhost` and 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If it cannot be created.
    #[must_use]
    pub fn server(&self) -> Identity {
        let names = ["localhost", "127.0.0.1"];
        self.sign(params("localhost", &names), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Creates a certificate for a client with this name.
    ///
    /// # Panics
    ///
    /// If it cannot be created.
    #[must_use]
    pub fn client(&self, common_name: &str) -> Identity {
        self.sign(params(common_name, &[]), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, purpose: ExtendedKeyUsagePurpose) -> Identity {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key = made(KeyPair::generate());
        let certificate = made(params.signed_by(&key, &self.issuer));
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Files {
    /// Writes the files for clients of a server of `authority`. The client is called `user`.
    pub(crate) fn write(folder: &Path, authority: &Authority, user: &str) -> std::io::Result<Self> {
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            write_private(&path, text)?;
            Ok::<_, std::io::Error>(path)
        };
        let (client, stranger) = (authority.client(user), Authority::new("stranger"));
        let strange = stranger.client(user);
        Ok(Self {
            ca: put("ca.pem", &authority.certificate())?,
            client_certificate: put("client.pem", &client.certificate)?,
            client_key: put("client.key", &client.key)?,
            stranger_ca: put("stranger-ca.pem", &stranger.certificate())?,
            stranger_certificate: put("stranger.pem", &strange.certificate)?,
            stranger_key: put("stranger.key", &strange.key)?,
        })
    }
}

/// Writes a file that only its owner can read: libpq and PostgreSQL refuse other keys.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let mut params =
        made(CertificateParams::new(names.iter().copied().map(str::to_owned).collect::<Vec<_>>()));
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

#[track_caller]
fn made<T>(result: Result<T, rcgen::Error>) -> T {
    result.unwrap_or_else(|error| panic!("making a certificate: {error}"))
}
