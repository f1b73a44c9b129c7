//! Commands of the core, compared with its model.

use arbitrary::{Result, Unstructured};

use crate::run::{NAMES, Op, Run};

/// How many commands a run has at most.
const COMMANDS: usize = 200;

/// Reads commands from the data, and runs them.
pub fn run(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let mut run = Run::new();
    for _ in 0..COMMANDS {
        let Ok((op, later)) = command(&mut data) else { break };
        run.now += later;
        run.apply(&op);
    }
    run.check_journal();
}

fn command(data: &mut Unstructured<'_>) -> Result<(Op, u64)> {
    if data.is_empty() {
        return Err(arbitrary::Error::NotEnoughData);
    }
    let peer = usize::from(data.int_in_range(0..=11_u8)?);
    let op = match data.int_in_range(0..=11_u8)? {
        0 => Op::NewPeer { expires_in: lease(data)? },
        1 => Op::Heartbeat { peer, expires_in: lease(data)? },
        2 => Op::End { peer },
        3 => {
            let (locks, priority) = (locks(data)?, data.int_in_range(-1..=2)?);
            let expires_in = if data.ratio(1, 5)? { Some(lease(data)?) } else { None };
            Op::Acquire { peer, locks, priority, expires_in }
        }
        4 => Op::Release { peer, semaphore: data.choose(&NAMES)? },
        5 => {
            let locks = if data.ratio(1, 2)? { Vec::new() } else { locks(data)? };
            let token = if data.ratio(1, 2)? { Some(data.int_in_range(0..=29)?) } else { None };
            Op::Restore { peer, locks, token, expires_in: lease(data)? }
        }
        6 => Op::Set {
            semaphore: data.choose(&NAMES)?,
            max: data.int_in_range(0..=4)?,
            level: data.int_in_range(0..=2)?,
            per: if data.ratio(1, 3)? { Some(data.int_in_range(1..=39)?) } else { None },
            passes: data.ratio(1, 3)?,
        },
        7 => Op::Remove { semaphore: data.choose(&NAMES)?, force: data.ratio(1, 2)? },
        8 => Op::Connect { peer },
        9 => Op::Disconnect { peer },
        10 => Op::Poll { peer },
        _ => Op::Wait,
    };
    let later = if data.ratio(3, 5)? { 0 } else { data.int_in_range(0..=59)? };
    Ok((op, later))
}

fn lease(data: &mut Unstructured<'_>) -> Result<u64> {
    data.int_in_range(0..=199)
}

/// Some of the semaphores, at least one, each with a count.
fn locks(data: &mut Unstructured<'_>) -> Result<Vec<(&'static str, i64)>> {
    let which = data.int_in_range(1..=15_u8)?;
    let mut locks = Vec::new();
    for (index, name) in NAMES.iter().enumerate() {
        if which & (1 << index) != 0 {
            locks.push((*name, data.int_in_range(0..=3)?));
        }
    }
    Ok(locks)
}
