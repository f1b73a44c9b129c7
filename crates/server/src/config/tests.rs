use std::time::Duration;

use tracing::level_filters::LevelFilter;

use throttle_core::{Deadlock, Order};

use super::*;

fn error(text: &str) -> String {
    parse("throttle.toml", text).expect_err(text).to_string()
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(error(text), *expected, "for {text}");
    }
}

#[test]
fn the_documented_file() {
    let config = parse(
        "throttle.toml",
        r#"
name = "Warehouse, 2nd floor"
litter_collection_interval = "5min"
[semaphores]
Z = 42
B = { max = 1, level = 1 }
"tenant/*" = 3
api = { max = 10, per = "1s" }
X = { max = 1, deadlock = "detect", order = "pass" }
[semaphores.A]
max = 0x10
level = -2
[logging.stderr]
level = "info"
format = "json"
[logging.gelf]
name = "MyThrottleServer"
host = "my_graylog_instance.cloud"
port = 12201
level = "DEBUG"
[limits]
body_bytes = 32_768
head_timeout = "1m 5s"
[expiry]
margin = "0s"
[queue]
ageing_step = "2h"
absent_after = "5s"
pass_within = "20s"
[http]
hosts = ["throttle.example.com", "t"]
[telemetry.otlp]
endpoint = "http://collector:4318"
sample_ratio = 0.25
timeout = "3s"
queue_size = 100
"#,
    )
    .expect("valid");
    assert_eq!(config.name.as_deref(), Some("Warehouse, 2nd floor"));
    assert_eq!(config.litter_collection_interval, Some(Duration::from_mins(5)));
    let names: Vec<_> = config.semaphores.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["Z", "B", "tenant/*", "api", "X", "A"]);
    let [z, b, tenant, api, x, a] = config.semaphores.as_slice() else { panic!("six semaphores") };
    assert_eq!(z, &SemaphoreConfig::new("Z", 42));
    assert_eq!((b.max, b.level), (1, 1));
    assert!(tenant.is_pattern() && !z.is_pattern());
    assert_eq!(api.per, Some(Duration::from_secs(1)));
    assert_eq!((x.deadlock, b.deadlock), (Deadlock::Detect, Deadlock::Hierarchy));
    assert_eq!((x.order, b.order), (Order::Pass, Order::Strict));
    assert_eq!((a.max, a.level), (16, -2));
    assert_eq!(config.logging.stderr, Some(Stderr { level: LevelFilter::INFO, format: LogFormat::Json }));
    let gelf = config.logging.gelf.expect("gelf");
    assert_eq!(
        (gelf.name.as_str(), gelf.host.as_str(), gelf.port, gelf.level),
        ("MyThrottleServer", "my_graylog_instance.cloud", 12201, LevelFilter::DEBUG)
    );
    let limits = Limits { body_bytes: 32 * 1024, head_timeout: Duration::from_secs(65), ..Limits::default() };
    assert_eq!(config.limits, limits);
    assert_eq!(config.expiry.margin, Duration::ZERO);
    assert_eq!(config.queue.ageing_step, Duration::from_hours(2));
    assert_eq!(config.queue.absent_after, Duration::from_secs(5));
    assert_eq!(config.queue.pass_within, Duration::from_secs(20));
    assert_eq!(config.http.hosts, ["throttle.example.com", "t"]);
    let otlp = Otlp {
        endpoint: Some("http://collector:4318".to_owned()),
        sample_ratio: 0.25,
        timeout: Duration::from_secs(3),
        queue_size: 100,
    };
    assert_eq!(config.telemetry.otlp, otlp);
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse("x", ""), Ok(Config::default()));
    assert_eq!(
        parse("x", "[semaphores]\n[logging]\n[limits]\n[expiry]\n[queue]\n[http]\n[telemetry.otlp]"),
        Ok(Config::default())
    );
    let logging = parse("x", "[logging.stderr]").expect("valid").logging;
    assert_eq!(logging.stderr, Some(Stderr::default()));
}

#[test]
fn wrong_semaphores() {
    let cases = [
        (
            "[semaphores]\nA = \"three\"",
            "throttle.toml:2: semaphores.A: found string \"three\"; allowed: an integer from 0 to \
             9223372036854775807, or a table { max = …, level = …, per = …, deadlock = …, order = … }.",
        ),
        (
            "[semaphores]\nA = -1",
            "throttle.toml:2: semaphores.A: found integer -1; allowed: an integer from 0 to 9223372036854775807.",
        ),
        (
            "[semaphores]\nA = 1.5",
            "throttle.toml:2: semaphores.A: found float 1.5; allowed: an integer from 0 to 9223372036854775807, \
             or a table { max = …, level = …, per = …, deadlock = …, order = … }.",
        ),
        (
            "[semaphores]\nA = 9223372036854775808",
            "throttle.toml:2: semaphores.A: found integer 9223372036854775808; allowed: an integer from 0 to \
             9223372036854775807.",
        ),
        (
            "[semaphores]\n\"\" = 1",
            "throttle.toml:2: semaphores.\"\": the name of a semaphore must not be empty.",
        ),
        (
            "[semaphores]\nA = 1\n\n[semaphores.B]\nmax = 1\nlevel = 0\nmaks = 1",
            "throttle.toml:7: semaphores.B.maks: unknown key; did you mean \"max\"? Known keys: max, level, per, \
             deadlock, order.",
        ),
        (
            "[semaphores]\n\"a b\" = { level = 1 }",
            "throttle.toml:2: semaphores.\"a b\".max: missing; allowed: an integer from 0 to 9223372036854775807.",
        ),
        (
            "[semaphores]\nA = { max = 1, level = 2147483648 }",
            "throttle.toml:2: semaphores.A.level: found integer 2147483648; allowed: an integer from -2147483648 \
             to 2147483647.",
        ),
        (
            "[semaphores]\nA = { max = 1, per = 1 }",
            "throttle.toml:2: semaphores.A.per: found integer 1; allowed: a duration such as \"30s\" or \"1h 30m\", \
             from 1ms to 365days.",
        ),
        (
            "[semaphores]\nA = { max = 1, deadlock = \"detekt\" }",
            "throttle.toml:2: semaphores.A.deadlock: found string \"detekt\"; allowed: one of \"hierarchy\", \
             \"detect\".",
        ),
        (
            "[semaphores]\nA = 1\nB = 2\nA = 3",
            "throttle.toml:4: semaphores.A: duplicate key; it is in line 2 already; keep one of the two.",
        ),
        (
            "port = 1\n[semaphores]\nport = 1\nmax = 2\nB = { max = 1, level = 1, max = 2 }",
            "throttle.toml:5: semaphores.B.max: duplicate key; it is in line 5 already; keep one of the two.",
        ),
        (
            "[semaphores]\nmax = 1\nB = { max = 1 }\n[limits]\npeers = 9\n[semaphores.C]\nmax = 1\nlevel = 1\nmax = 2",
            "throttle.toml:9: semaphores.C.max: duplicate key; it is in line 7 already; keep one of the two.",
        ),
        (
            "[semaphores]\n\"a b\" = 1\n\"a b\" = 2",
            "throttle.toml:3: semaphores.\"a b\": duplicate key; it is in line 2 already; keep one of the two.",
        ),
        (
            "[limits]\npeers = 9\n[http]\n[limits]",
            "throttle.toml:4: limits: duplicate key; keep one of the two.",
        ),
        (
            "[security.quota]\npeers = 9\n[http]\n[security.quota]",
            "throttle.toml:4: security.quota: duplicate key; keep one of the two.",
        ),
    ];
    check(&cases);
}

#[test]
fn wrong_rates_and_modes() {
    let cases = [
        (
            "[limits]\nrate_per_address = 5",
            "throttle.toml:2: limits.rate_per_address: found integer 5; allowed: a count and a time such as \"200/s\" \
             or \"1000/10min\".",
        ),
        (
            "[security.quota]\nrate = \"0/s\"",
            "throttle.toml:2: security.quota.rate: found string \"0/s\"; allowed: a count and a time such as \
             \"200/s\" or \"1000/10min\".",
        ),
        (
            "[http]\nsocket_mode = \"0999\"",
            "throttle.toml:2: http.socket_mode: found string \"0999\"; allowed: a mode in octal digits, such as \
             \"0660\".",
        ),
    ];
    check(&cases);
}

#[test]
fn wrong_names_of_the_server() {
    let cases = [
        (
            "name = \" \"",
            "throttle.toml:1: name: found string \" \"; allowed: a name for this server, of 1 to 64 characters that \
             can be printed, such as \"Warehouse\".",
        ),
        (
            "name = \"a\\tb\"",
            "throttle.toml:1: name: found string \"a\\tb\"; allowed: a name for this server, of 1 to 64 characters \
             that can be printed, such as \"Warehouse\".",
        ),
        (
            "name = 3",
            "throttle.toml:1: name: found integer 3; allowed: a name for this server, of 1 to 64 characters that \
             can be printed, such as \"Warehouse\".",
        ),
    ];
    check(&cases);
}

#[test]
fn wrong_keys_and_settings() {
    let cases = [
        ("semaphores = 3", "throttle.toml:1: semaphores: found integer 3; allowed: a table."),
        (
            "# old\nA = 3",
            "throttle.toml:2: A: unknown key; a semaphore belongs below [semaphores]; otherwise remove the line \
             (older versions ignored such keys). Known keys: address, port, name, litter_collection_interval, \
             semaphores, logging, limits, expiry, queue, durability, recovery, http, telemetry, security, tls, audit, cluster.",
        ),
        (
            "[semaphore]\nA = 3",
            "throttle.toml:1: semaphore: unknown key; did you mean \"semaphores\"? Known keys: address, port, name, \
             litter_collection_interval, semaphores, logging, limits, expiry, queue, durability, recovery, http, \
             telemetry, security, tls, audit, cluster.",
        ),
        (
            "litter_collection_interval = \"often\"",
            "throttle.toml:1: litter_collection_interval: found string \"often\"; allowed: a duration such as \
             \"30s\" or \"1h 30m\", from 0s to 100years.",
        ),
        (
            "[logging.stdrr]\nlevel = \"INFO\"",
            "throttle.toml:1: logging.stdrr: unknown key; did you mean \"stderr\"? Known keys: stderr, gelf.",
        ),
        (
            "[logging.stderr]\nlevel = \"LOUD\"",
            "throttle.toml:2: logging.stderr.level: found string \"LOUD\"; allowed: one of \"ERROR\", \"WARN\", \
             \"INFO\", \"DEBUG\", \"TRACE\", \"OFF\".",
        ),
        (
            "[logging.stderr]\nformat = \"yaml\"",
            "throttle.toml:2: logging.stderr.format: found string \"yaml\"; allowed: one of \"text\", \"json\".",
        ),
        (
            "[telemetry.otlp]\nsample_ratio = 2",
            "throttle.toml:2: telemetry.otlp.sample_ratio: found integer 2; allowed: a number from 0 to 1.",
        ),
        (
            "[telemetry.oltp]",
            "throttle.toml:1: telemetry.oltp: unknown key; did you mean \"otlp\"? Known keys: otlp.",
        ),
        (
            "[telemetry.otlp]\nendpoint = \"\"",
            "throttle.toml:2: telemetry.otlp.endpoint: found string \"\"; allowed: the URL of a collector, such as \
             http://127.0.0.1:4318, as a string that is not empty.",
        ),
        (
            "\n[logging.gelf]\nname = \"A\"\nhost = \"h\"",
            "throttle.toml:2: logging.gelf.port: missing; allowed: an integer from 1 to 65535.",
        ),
        (
            "[logging.gelf]\nname = \"A\"\nhost = \"h\"\nport = 70000",
            "throttle.toml:4: logging.gelf.port: found integer 70000; allowed: an integer from 1 to 65535.",
        ),
        (
            "[limits]\nbody-bytes = 1",
            "throttle.toml:2: limits.body-bytes: unknown key; did you mean \"body_bytes\"? Known keys: head_bytes, \
             body_bytes, buffer_bytes, long_answers, connections, connections_per_address, rate_per_address, \
             blocked_requests, peers, locks_per_peer, locks_per_request, locks_per_queue, waiters_per_semaphore, \
             semaphores, members_per_pattern, deadlock_walk, labels_per_peer, label_length, label_bytes, \
             remembered_peers, idempotency_keys, events, event_streams, event_keep_alive, metric_series, histories, \
             history_step, expires_in_max, head_timeout, body_timeout, answer_timeout, idle_timeout.",
        ),
        (
            "[limits]\nbody_bytes = true",
            "throttle.toml:2: limits.body_bytes: found boolean true; allowed: an integer from 1024 to 67108864.",
        ),
        (
            "[expiry]\nmargin = \"2h\"",
            "throttle.toml:2: expiry.margin: found string \"2h\"; allowed: a duration such as \"30s\" or \"1h \
             30m\", from 0s to 1h.",
        ),
        (
            "[queue]\nageing = \"1h\"",
            "throttle.toml:2: queue.ageing: unknown key; did you mean \"ageing_step\"? Known keys: ageing_step, \
             absent_after, pass_within.",
        ),
        ("port = 70000", "throttle.toml:1: port: found integer 70000; allowed: an integer from 0 to 65535."),
        (
            "address = [\"::1\"]",
            "throttle.toml:1: address: found an array; allowed: an address or host name to listen on, as a string \
             that is not empty.",
        ),
    ];
    check(&cases);
}

#[test]
fn a_wrong_list_names_its_entry() {
    check(&[
        (
            "[http]\nhosts = [\n\"a\",\n\"http://b\"]",
            "throttle.toml:4: http.hosts: found string \"http://b\" as entry 2; allowed: a host name without a scheme \
             or port, such as \"throttle.example.com\".",
        ),
        (
            "[http]\nhosts = \"a\"",
            "throttle.toml:2: http.hosts: found string \"a\"; allowed: a list, of which each entry is a host name \
             without a scheme or port, such as \"throttle.example.com\".",
        ),
        (
            "[security]\npublic = [7]",
            "throttle.toml:2: security.public: found integer 7 as entry 1; allowed: a path that is for looking, such \
             as \"/metrics\".",
        ),
        (
            "[audit]\nfile = \"-\"\nlog = [\"admin\", \"all\"]",
            "throttle.toml:3: audit.log: found string \"all\" as entry 2; allowed: one of \"acquire\", \"operate\", \
             \"admin\" and \"refused\".",
        ),
        (
            "[cluster]\nadvertise = \"http://a\"\nendpoints = [\"10.0.0.1:2379\"]",
            "throttle.toml:3: cluster.endpoints: found string \"10.0.0.1:2379\" as entry 1; allowed: the URL of a \
             member of etcd, such as \"http://10.0.0.1:2379\".",
        ),
        (
            "[cluster]\nadvertise = \"http://a\"",
            "throttle.toml:1: cluster.endpoints: missing; allowed: a list, of which each entry is the URL of a member \
             of etcd, such as \"http://10.0.0.1:2379\".",
        ),
    ]);
}

#[test]
fn syntax_errors_are_one_line_with_the_place() {
    for (text, line) in [("[semaphores\nA = 1", 1), ("\n\nA 1", 3), ("[semaphores]\nA = ", 2), ("a = \"x", 1)]
    {
        let error = parse("throttle.toml", text).expect_err(text);
        assert_eq!(error.line(), Some(line), "{text}: {error}");
        assert!(
            error.to_string().contains("not valid TOML: ") && !error.to_string().contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn a_missing_file_is_the_default() {
    let loaded = load(std::path::Path::new("no such directory/throttle.toml")).expect("default");
    assert_eq!(loaded, Loaded { config: Config::default(), content: Content::Missing });
}

#[test]
fn unreadable_files_say_so() {
    let directory = std::env::temp_dir();
    let error = load(&directory).expect_err("a directory").to_string();
    assert!(error.ends_with("is a directory; name a file with -c (--configuration)."), "{error}");

    let path = directory.join(format!("throttle-config-{}.toml", std::process::id()));
    std::fs::write(&path, b"[semaphores]\n\xff = 1").expect("writable");
    let error = load(&path).expect_err("not UTF-8");
    std::fs::write(&path, "\u{feff}port = 1").expect("writable");
    let marked = load(&path);
    std::fs::remove_file(&path).expect("removable");
    assert_eq!(error.line(), Some(2));
    assert!(error.to_string().ends_with("not UTF-8 text; save the file as UTF-8."), "{error}");
    assert_eq!(marked.expect("valid").config.port, Some(1));
}
