//! The driver's settings for an address.

use tokio_postgres::Config;
use tokio_postgres::config::{
    ChannelBinding, LoadBalanceHosts, SslMode as Encryption, SslNegotiation, TargetSessionAttrs,
};

use crate::address::{Binding, PostgresAddress, SessionAttrs, SslMode};

/// The encryption with which a connection is attempted.
pub type Attempt = Encryption;

impl PostgresAddress {
    /// Returns the driver's settings. [`attempts`](Self::attempts) decides about encryption.
    #[must_use]
    pub fn driver(&self) -> Config {
        let mut config = Config::new();
        for (host, port) in &self.hosts {
            config.host(host).port(*port);
        }
        for address in &self.host_addresses {
            config.hostaddr(*address);
        }
        if let Some(user) = &self.user {
            config.user(user);
        }
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        if let Some(database) = &self.database {
            config.dbname(database);
        }
        if let Some(options) = &self.options {
            config.options(options);
        }
        if let Some(name) = &self.application_name {
            config.application_name(name);
        }
        if let Some(timeout) = self.tcp_user_timeout {
            config.tcp_user_timeout(timeout);
        }
        config
            .connect_timeout(self.connect_timeout)
            .keepalives(self.keepalives)
            .keepalives_idle(self.keepalives_idle)
            .keepalives_interval(self.keepalives_interval)
            .keepalives_retries(self.keepalives_count)
            .target_session_attrs(match self.target_session_attrs {
                SessionAttrs::Any => TargetSessionAttrs::Any,
                SessionAttrs::ReadWrite => TargetSessionAttrs::ReadWrite,
                SessionAttrs::ReadOnly => TargetSessionAttrs::ReadOnly,
            })
            .channel_binding(match self.channel_binding {
                Binding::Disable => ChannelBinding::Disable,
                Binding::Prefer => ChannelBinding::Prefer,
                Binding::Require => ChannelBinding::Require,
            })
            .load_balance_hosts(match self.balances_hosts {
                true => LoadBalanceHosts::Random,
                false => LoadBalanceHosts::Disable,
            })
            .ssl_negotiation(match self.negotiates_directly {
                true => SslNegotiation::Direct,
                false => SslNegotiation::Postgres,
            });
        config
    }

    /// Returns the attempts in order, as libpq makes them. `prefer` means encrypted first, then
    /// plain if the server does not support encryption.
    #[must_use]
    pub fn attempts(&self) -> &'static [Attempt] {
        match self.ssl_mode() {
            SslMode::Disable => &[Encryption::Disable],
            SslMode::Allow => &[Encryption::Disable, Encryption::Require],
            SslMode::Prefer => &[Encryption::Prefer, Encryption::Disable],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Require],
        }
    }
}
