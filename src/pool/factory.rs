//! What a pool is told about its VMs: how to make, clean, check and describe one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::pool::config::PoolConfig;
use crate::pool::error::{BoxError, CaughtPanic};
use crate::pool::stats::DestroyReason;

/// Makes VMs.
///
/// Called on a thread that the pool starts for each VM, so that one that hangs holds up nobody for
/// longer than `create_timeout`; without any lock of the pool held, and possibly on several threads
/// at once. A panic is caught and counts as an error.
pub trait VmFactory<V>: Send + Sync + 'static {
    /// Makes one VM.
    ///
    /// # Errors
    ///
    /// Whatever keeps the VM from being made. The caller of `acquire` gets it as
    /// [`PoolError::Create`](crate::pool::PoolError::Create).
    fn create(&self) -> Result<V, BoxError>;

    /// Makes a new VM ready for its first lease. Part of its making: it counts for
    /// `create_timeout`, and if it fails there is no VM. The default does nothing.
    ///
    /// # Errors
    ///
    /// Whatever keeps the VM from being used, as for [`create`](Self::create).
    fn configure(&self, vm: &mut V) -> Result<(), BoxError> {
        let _ = vm;
        Ok(())
    }

    /// What makes the VM stop what it is doing, from any thread. Asked once, when the VM is made;
    /// called when the pool is being closed and the VM's lease hasn't ended in time. The default
    /// has nothing: then [`close`](crate::pool::VmPool::close) can only wait.
    fn interrupter(&self, vm: &V) -> Option<InterruptFn> {
        let _ = vm;
        None
    }

    /// Told when the configuration of its pool changes, so that the VMs it makes from now on fit. Returns
    /// whether those it made before don't, so that they are replaced, as
    /// [`evict_all`](crate::pool::VmPool::evict_all) does. Calls come one at a time, in the order of the
    /// changes. The default looks at nothing and keeps them.
    fn reconfigure(&self, before: &PoolConfig, now: &PoolConfig) -> bool {
        let _ = (before, now);
        false
    }
}

/// Makes one VM stop what it is doing; see [`VmFactory::interrupter`].
pub type InterruptFn = Arc<dyn Fn() + Send + Sync>;

/// A closure that makes VMs is a factory.
impl<V, F, E> VmFactory<V> for F
where
    F: Fn() -> Result<V, E> + Send + Sync + 'static,
    E: Into<BoxError>,
{
    fn create(&self) -> Result<V, BoxError> {
        self().map_err(Into::into)
    }
}

/// Cleans VMs between two leases and checks that they are clean.
///
/// Called without any lock of the pool held. A panic is caught; the VM is destroyed.
pub trait VmResetter<V>: Send + Sync + 'static {
    /// Whether the VM is used up, such as one that met a hard limit, so that it must be destroyed
    /// and needs no reset. Asked when its lease ends. By default no VM ever is.
    fn is_spent(&self, vm: &V) -> bool {
        let _ = vm;
        false
    }

    /// Cleans the VM when its lease ends, so that an idle VM holds no secrets and no garbage.
    ///
    /// Runs on the thread that ends the lease, and can't be stopped from outside. A VM whose reset
    /// takes longer than `reset_timeout` is destroyed when it is done. If it never is,
    /// [`maintain`](crate::pool::VmPool::maintain) puts it into quarantine and gives its slot to
    /// another VM; only that thread still waits.
    ///
    /// # Errors
    ///
    /// The VM can't be cleaned; it is destroyed and its slot is free again.
    fn reset(&self, vm: &mut V) -> Result<(), BoxError>;

    /// Checks before each lease that an idle VM is still sound. Must be cheap: it is on the path
    /// of every `acquire`. The default finds every VM sound.
    ///
    /// # Errors
    ///
    /// The VM isn't sound; it is destroyed and the borrower gets another one.
    fn validate(&self, vm: &mut V) -> Result<(), BoxError> {
        let _ = vm;
        Ok(())
    }

    /// Checks an idle VM thoroughly, at every health check. The default is
    /// [`validate`](Self::validate).
    ///
    /// # Errors
    ///
    /// The VM isn't sound; it is destroyed.
    fn check(&self, vm: &mut V) -> Result<(), BoxError> {
        self.validate(vm)
    }

    /// What tells the VM from every other one, such as a number that it got when it was made. Asked
    /// before and after each lease: where it differs, the borrower has put another VM in the place of
    /// the one that it leased (`*lease = other`, [`std::mem::swap`]). That VM is destroyed and never
    /// leased on, and [`maintain`](crate::pool::VmPool::maintain) reports an incident. Must be cheap.
    ///
    /// The default is `None`: VMs are values like any others, and a borrower may put another one there.
    fn identity(&self, vm: &V) -> Option<u64> {
        let _ = vm;
        None
    }

    /// Describes the VM after it was made and after each reset. The default says nothing.
    fn inspect(&self, vm: &V) -> VmReport {
        let _ = vm;
        VmReport::default()
    }
}

/// What a VM says about itself; see [`VmResetter::inspect`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmReport {
    /// Bytes the VM holds.
    pub memory_bytes: usize,
    /// The program it ran last. `acquire_for` prefers an idle VM by this name, and incidents
    /// name it.
    pub last_program: Option<Arc<str>>,
}

/// A new VM.
pub(crate) struct NewVm<V> {
    pub(crate) vm: V,
    pub(crate) identity: Option<u64>,
    pub(crate) report: VmReport,
    pub(crate) interrupter: Option<InterruptFn>,
}

/// The user code of a pool. A thread that makes a VM keeps this alive, and not the pool.
pub(crate) struct VmHooks<V: 'static> {
    pub(crate) factory: Box<dyn VmFactory<V>>,
    pub(crate) resetter: Box<dyn VmResetter<V>>,
}

impl<V: 'static> VmHooks<V> {
    /// Makes a VM that is ready for its first lease.
    pub(crate) fn make(&self) -> Result<NewVm<V>, HookError> {
        let mut vm = guarded("the making of a VM", || self.factory.create())?;
        let readied = guarded("the configuration of a VM", || {
            self.factory.configure(&mut vm)?;
            let (resetter, factory) = (&self.resetter, &self.factory);
            Ok((resetter.identity(&vm), resetter.inspect(&vm), factory.interrupter(&vm)))
        });
        match readied {
            Ok((identity, report, interrupter)) => Ok(NewVm { vm, identity, report, interrupter }),
            Err(failure) => {
                drop_quietly(vm);
                Err(failure)
            }
        }
    }
}

/// Runs user code and turns its panic into an error. The pool's own data is never borrowed
/// meanwhile, and a VM that was borrowed is destroyed after a panic, so nothing half-changed is
/// ever seen.
pub(crate) fn guarded<T>(
    what: &'static str,
    code: impl FnOnce() -> Result<T, BoxError>,
) -> Result<T, HookError> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(HookError::Error(error)),
        Err(payload) => {
            let error = CaughtPanic::new(what, payload.as_ref());
            // A payload may itself panic when it is dropped.
            drop_quietly(payload);
            Err(HookError::Panic(error.into()))
        }
    }
}

/// Drops a value and swallows the panic of its `drop`.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // The payload of a panicking `drop` could panic again when dropped.
        std::mem::forget(payload);
    }
}

/// The text of an error. Writing it and dropping the error is user code too.
pub(crate) fn describe(error: BoxError) -> String {
    let text = guarded("the text of an error", || Ok(error.to_string()));
    drop_quietly(error);
    text.unwrap_or_else(|failure| failure.into_error().to_string())
}

/// How user code failed.
#[derive(Debug)]
pub(crate) enum HookError {
    Error(BoxError),
    Panic(BoxError),
}

impl HookError {
    pub(crate) fn into_error(self) -> BoxError {
        match self {
            Self::Error(error) | Self::Panic(error) => error,
        }
    }

    /// The reason to destroy a VM after this failure: the given one after an error.
    pub(crate) fn reason(&self, after_error: DestroyReason) -> DestroyReason {
        match self {
            Self::Error(_) => after_error,
            Self::Panic(_) => DestroyReason::Panicked,
        }
    }
}
