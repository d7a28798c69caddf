//! [`prefetch`]: a hint to the processor.

/// Has the processor fetch what lies there, to be used soon. It changes nothing, and where it can't be done,
/// nothing is lost.
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which may even name a place that isn't there; all such processors take it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
