//! What the targets share.

/// An input as a list of steps: a head of `N` bytes, whose last one says how many bytes follow, and these. The last step may
/// have fewer.
pub fn steps<const N: usize>(mut input: &[u8]) -> impl Iterator<Item = ([u8; N], &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = input.split_first_chunk::<N>()?;
        let (step, next) = rest.split_at(rest.len().min(head[N - 1].into()));
        input = next;
        Some((*head, step))
    })
}
