//! The async runtime of the tools.

use std::future::Future;
use std::process::ExitCode;

use crate::failure::Failure;

/// Runs a tool to its end. Its result `false` becomes exit code 1.
pub(crate) fn block_on<E: From<Failure>>(tool: impl Future<Output = Result<bool, E>>) -> Result<ExitCode, E> {
    // A PostgreSQL connection is a task of the runtime.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| E::from(Failure::Runtime(error)))?;
    let is_ok = runtime.block_on(tool)?;
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
