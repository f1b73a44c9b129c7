//! How many of something there are, in words.

/// A number with its noun, in the plural unless it is one: `1 lock`, `2 locks`.
pub fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    match number.try_into() {
        Ok(1) => format!("1 {noun}"),
        Ok(number) => format!("{number} {noun}s"),
        // Nothing that is counted has a negative number or a larger one.
        Err(_) => format!("many {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(counted(0_u64, "peer"), "0 peers");
        assert_eq!(counted(1_usize, "waiting request"), "1 waiting request");
        assert_eq!(counted(2_i64, "semaphore"), "2 semaphores");
    }
}
