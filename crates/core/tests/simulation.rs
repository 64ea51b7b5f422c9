//! Many peers under virtual time, thousands of seeds: whatever the order of things, every call is answered, both
//! sides hold the same connections, and nothing is left behind. A failure names its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use linkup_core::{Command, ConnectionId, Event};
use linkup_proto::{Error, ErrorCode, PeerId};
use linkup_testkit::{Act, Manners, World};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn id(text: &str) -> PeerId {
    PeerId::new(text).unwrap()
}

/// Runs a world for each seed, and looks at what it leaves. `LINKUP_SEEDS=100` runs a hundred times as many,
/// `LINKUP_SEED=7` that one alone.
fn seeds(count: u64, run: impl Fn(u64) -> World) {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match given("LINKUP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count * given("LINKUP_SEEDS").unwrap_or(1),
    };
    for seed in seeds {
        let broken = run(seed).finish();
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
    }
}

fn assert_outcome(world: &World, seed: u64, node: usize, connection: ConnectionId, ok: impl Fn(&Event) -> bool) {
    let outcome = world.outcome(node, connection);
    if !outcome.as_ref().is_some_and(|(_, event)| ok(event)) {
        let mine = world.events(0);
        let theirs = world.events(1);
        panic!("seed {seed}, node {node}, {connection:?}: {outcome:?}\n0: {mine:#?}\n1: {theirs:#?}");
    }
}

fn is_ours(event: &Event) -> bool {
    matches!(event, Event::Open { incoming: false, linkup: Some(_), .. })
}

/// Two peers, of which both or one call; everything else by the seed.
fn pair(seed: u64) -> (World, [PeerId; 2]) {
    let ids = [id("alice"), id("bob")];
    let mut world = World::new(seed, 1);
    world.delay = MS(1 << (seed % 8));
    world.trickle = !seed.is_multiple_of(3);
    for id in &ids {
        let asks = world.rng().bool();
        let transforms = world.rng().u8(..) < 64;
        world.add(id, Manners::Accepts, |config| (config.asks, config.transforms) = (asks, transforms));
    }
    (world, ids)
}

#[test]
fn two_that_call_each_other_at_once_get_one_connection() {
    seeds(3000, |seed| {
        let (mut world, ids) = pair(seed);
        world.run(MS(1000));
        let spread = MS([0, 2, 20, 60][seed as usize / 8 % 4]).min(world.delay);
        let calls = [0, 1].map(|node: usize| {
            let after = world.moment(spread);
            world.plan_connect(after, node, &ids[1 - node])
        });
        world.run(MS(5000));
        for (node, call) in calls.into_iter().enumerate() {
            let fits = |event: &Event| is_ours(event) || matches!(event, Event::Joined { .. });
            assert_outcome(&world, seed, node, call, fits);
            let opened = |event: &&(Duration, Event)| matches!(event.1, Event::Open { .. });
            assert_eq!(world.events(node).iter().filter(opened).count(), 1, "seed {seed}");
            assert!(!world.events(node).iter().any(|(_, event)| matches!(event, Event::Closed { .. })), "seed {seed}");
            if spread == Duration::ZERO {
                assert_outcome(&world, seed, node, call, is_ours);
                let asked = world.events(node).iter().any(|(_, event)| matches!(event, Event::Request { .. }));
                assert!(!asked, "seed {seed}: calling is accepting");
            }
        }
        world
    });
}

#[test]
fn calls_before_the_registration_and_late_ones_meet_as_well() {
    seeds(1500, |seed| {
        let (mut world, ids) = pair(seed);
        let calls = [0, 1].map(|node: usize| {
            let after = world.moment(MS(300));
            world.plan_connect(after, node, &ids[1 - node])
        });
        world.run(MS(6000));
        for (node, call) in calls.into_iter().enumerate() {
            let found = |event: &Event| is_ours(event) || matches!(event, Event::Joined { .. });
            // The other one may not have been registered yet.
            let absent = |event: &Event| matches!(event, Event::Closed { error: Some(e), .. } if e.code == ErrorCode::PeerNotFound);
            assert_outcome(&world, seed, node, call, |event| found(event) || absent(event));
        }
        world
    });
}

#[test]
fn a_broker_that_restarts_during_the_calls_delays_them_only() {
    seeds(2000, |seed| {
        let (mut world, ids) = pair(seed);
        world.run(MS(1500));
        let both = world.rng().bool();
        let calls: Vec<_> = (0..=usize::from(both))
            .map(|node| {
                let after = world.moment(MS(100));
                world.plan_connect(after, node, &ids[1 - node])
            })
            .collect();
        let down = world.moment(MS(300));
        let up = down + world.moment(MS(1000));
        world.plan(down, Act::BrokerDown(0));
        world.plan(up, Act::BrokerUp(0));
        world.run(MS(7000));
        for (node, call) in calls.into_iter().enumerate() {
            let fits = |event: &Event| is_ours(event) || matches!(event, Event::Joined { .. });
            assert_outcome(&world, seed, node, call, fits);
        }
        world
    });
}

#[test]
fn a_cut_socket_during_the_calls_delays_them_only() {
    seeds(1500, |seed| {
        let (mut world, ids) = pair(seed);
        world.run(MS(1500));
        let calls = [0, 1].map(|node: usize| {
            let after = world.moment(MS(100));
            world.plan_connect(after, node, &ids[1 - node])
        });
        let cut = world.moment(MS(200));
        let node = world.rng().usize(0..2);
        world.plan(cut, Act::CutSocket(node));
        world.run(MS(7000));
        for (node, call) in calls.into_iter().enumerate() {
            let fits = |event: &Event| match event {
                Event::Joined { .. } => true,
                // The one whose socket was cut is unknown to the broker for a moment.
                Event::Closed { error: Some(error), .. } => error.code == ErrorCode::PeerNotFound,
                event => is_ours(event),
            };
            assert_outcome(&world, seed, node, call, fits);
        }
        world
    });
}

#[test]
fn one_that_gives_up_leaves_the_other_ones_call_alone() {
    seeds(2000, |seed| {
        let (mut world, ids) = pair(seed);
        world.run(MS(1500));
        let calls = [0, 1].map(|node: usize| {
            let after = world.moment(MS(100));
            world.plan_connect(after, node, &ids[1 - node])
        });
        let quitter = world.rng().usize(0..2);
        let error = world.rng().bool().then(|| Error::new(ErrorCode::Aborted, "changed my mind"));
        let after = MS(100) + world.moment(MS(200));
        world.plan(after, Act::Command(quitter, Command::Close { connection: calls[quitter], error }));
        world.run(MS(7000));
        let other = 1 - quitter;
        let fits = |event: &Event| is_ours(event) || matches!(event, Event::Joined { .. } | Event::Closed { .. });
        assert_outcome(&world, seed, quitter, calls[quitter], fits);
        // If it closes what was open on its side already, the other side may learn of both at once.
        let opened_there = matches!(world.outcome(quitter, calls[quitter]), Some((_, event)) if is_ours(&event));
        let aborted = |event: &Event| {
            opened_there
                && matches!(event, Event::Closed { error: Some(e), .. } if e.code == ErrorCode::Aborted
                || e.code == ErrorCode::ConnectionClosed)
        };
        assert_outcome(&world, seed, other, calls[other], |event| fits_open(event) || aborted(event));
        world
    });
}

fn fits_open(event: &Event) -> bool {
    is_ours(event) || matches!(event, Event::Joined { .. })
}

#[test]
fn a_restarted_process_is_reached_again() {
    seeds(1000, |seed| {
        let (mut world, ids) = pair(seed);
        world.run(MS(1500));
        world.plan_connect(Duration::ZERO, 0, &ids[1]);
        let restart = world.moment(MS(1500));
        world.plan(restart, Act::Restart(1));
        world.run(restart + MS(1000));
        let again = world.plan_connect(Duration::ZERO, 1, &ids[0]);
        world.run(MS(5000));
        assert_outcome(&world, seed, 1, again, fits_open);
        world
    });
}

/// Whoever has no network, for how long, and whatever becomes of the broker meanwhile: within the time for it, the connection
/// goes on.
#[test]
fn a_network_that_comes_back_in_time_ends_no_connection() {
    seeds(3000, |seed| {
        let (mut world, ids) = pair(seed);
        world.run(MS(1500));
        let call = world.plan_connect(Duration::ZERO, 0, &ids[1]);
        world.run(MS(2500));
        for _ in 0..=seed % 3 {
            let node = world.rng().usize(0..2);
            let dark = world.moment(MS(500));
            let light = dark + world.moment(MS(20_000));
            world.plan(dark, Act::Dark(node));
            world.plan(light, Act::Light(node));
            if world.rng().bool() {
                let down = world.moment(light);
                let up = down + world.moment(MS(1000));
                world.plan(down, Act::BrokerDown(0));
                world.plan(up, Act::BrokerUp(0));
            }
            world.run(light + MS(9_000));
        }
        for (node, id) in ids.iter().enumerate() {
            let closed = world.events(node).iter().any(|(_, event)| matches!(event, Event::Closed { .. }));
            let events = || format!("{:#?}\n{:#?}", world.events(0), world.events(1));
            assert!(!closed, "seed {seed}: {id} {}", events());
            let waits = world.ledger(node).interrupted().count();
            assert_eq!(waits, 0, "seed {seed}: {id} {}", events());
        }
        assert!(world.ledger(0).is_open(call), "seed {seed}");
        world
    });
}

#[test]
fn a_network_that_stays_away_ends_the_connection_when_its_time_is_over() {
    seeds(500, |seed| {
        let (mut world, ids) = pair(seed);
        world.run(MS(1500));
        world.plan_connect(Duration::ZERO, 0, &ids[1]);
        world.run(MS(2500));
        let node = world.rng().usize(0..2);
        world.plan(Duration::ZERO, Act::Dark(node));
        let began = world.now();
        world.run(MS(40_000));
        for node in 0..2 {
            let event = world.events(node).iter().find(|(_, event)| matches!(event, Event::Closed { .. }));
            let Some((at, Event::Closed { error: Some(error), .. })) = event else { panic!("seed {seed}: {event:?}") };
            assert_eq!(error.code, ErrorCode::ConnectionLost, "seed {seed}");
            let after = *at - began;
            assert!(after >= MS(32_000) && after <= MS(35_000), "seed {seed}: after {after:?}");
        }
        world
    });
}

#[test]
fn a_turn_server_is_left_when_there_is_another_way_and_nobody_hears_of_it() {
    seeds(500, |seed| {
        let (mut world, ids) = pair(seed);
        world.need_turn(true);
        world.run(MS(1500));
        world.plan_connect(Duration::ZERO, 0, &ids[1]);
        world.run(MS(2500));
        assert_eq!([world.turned(0), world.turned(1)], [1, 1], "seed {seed}");
        let wait = world.moment(MS(30_000));
        world.run(wait);
        world.need_turn(false);
        world.run(MS(90_000));
        assert_eq!([world.turned(0), world.turned(1)], [0, 0], "seed {seed}");
        for node in 0..2 {
            let is_told = |event: &Event| matches!(event, Event::Reconnecting { .. } | Event::Closed { .. });
            let told = world.events(node).iter().find(|(_, event)| is_told(event));
            assert!(told.is_none(), "seed {seed}: {told:?}");
        }
        world
    });
}

/// Whoever is killed is known to be gone by the broker's word, long before the time for another network is over.
#[test]
fn a_killed_process_is_noticed_soon() {
    seeds(500, |seed| {
        let (mut world, ids) = pair(seed);
        world.run(MS(1500));
        world.plan_connect(Duration::ZERO, 0, &ids[1]);
        world.run(MS(2500));
        world.plan(Duration::ZERO, Act::Kill(1));
        let began = world.now();
        world.run(MS(10_000));
        let event = world.events(0).iter().find(|(_, event)| matches!(event, Event::Closed { .. }));
        let Some((at, Event::Closed { error: Some(error), .. })) = event else { panic!("seed {seed}: {event:?}") };
        assert_eq!(error.code, ErrorCode::ConnectionLost, "seed {seed}");
        assert!(*at - began <= MS(8_000), "seed {seed}: after {:?}", *at - began);
        world
    });
}

#[test]
fn chaos_leaves_nothing_behind() {
    seeds(1200, |seed| {
        let mut world = World::new(seed, 1 + seed as usize % 2);
        world.delay = MS(1 << (seed % 8));
        world.trickle = !seed.is_multiple_of(3);
        let ids: Vec<PeerId> = ["ann", "ben", "cid", "dot"].into_iter().map(id).collect();
        let brokers = 1 + seed as usize % 2;
        for id in &ids {
            let manners = match world.rng().u8(..5) {
                0 => Manners::Denies("busy".into()),
                1 => Manners::Silent,
                _ => Manners::Accepts,
            };
            let (asks, transforms) = (world.rng().bool(), world.rng().u8(..4) == 0);
            let max_connections = world.rng().usize(1..5);
            world.add(id, manners, |config| {
                (config.asks, config.transforms, config.max_connections) = (asks, transforms, max_connections);
            });
        }
        match world.rng().u8(..8) {
            0 => world.block_transports(),
            1 => world.need_turn(true),
            _ => {}
        }
        let mut calls = Vec::new();
        for _ in 0..40 {
            let after = world.moment(MS(20_000));
            let (node, other) = (world.rng().usize(0..4), world.rng().usize(0..4));
            match world.rng().u8(..16) {
                0 => {
                    let broker = world.rng().usize(0..brokers);
                    let up = after + world.moment(MS(3000));
                    world.plan(after, Act::BrokerDown(broker));
                    world.plan(up, Act::BrokerUp(broker));
                }
                1 => world.plan(after, Act::CutSocket(node)),
                2 => world.plan(after, Act::Restart(node)),
                9 => {
                    let light = after + world.moment(MS(15_000));
                    world.plan(after, Act::Dark(node));
                    world.plan(light, Act::Light(node));
                }
                3 if other == 0 => world.plan(after, Act::Command(node, Command::ClosePeer)),
                4 => {
                    world.plan_find(after, node, &ids[other]);
                }
                5..=8 if !calls.is_empty() => {
                    let index = world.rng().usize(0..calls.len());
                    let (node, connection) = calls[index];
                    let error = world.rng().bool().then(|| Error::new(ErrorCode::Aborted, "enough"));
                    world.plan(after, Act::Command(node, Command::Close { connection, error }));
                }
                _ => calls.push((node, world.plan_connect(after, node, &ids[other]))),
            }
        }
        world.run(MS(25_000));
        world
    });
}
