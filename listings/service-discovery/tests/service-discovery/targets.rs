//! What a target may look like, and what is said of one that may not.

use std::path::PathBuf;

use anyhow::Result;
use service_discovery::{
    address::Address,
    resolve,
    target::{Kind, Target, announced},
};

fn dns(server: Option<&str>, host: &str, port: u16) -> Target {
    Target::Dns {
        server: server.map(|server| server.parse().unwrap()),
        host: host.to_owned(),
        port,
    }
}

#[test]
fn the_forms_of_grpc_are_understood() -> Result<()> {
    let unix = |path| Target::Address(Address::Unix(PathBuf::from(path)));
    let static_address = |text: &str| Target::Address(Address::Tcp(text.parse().unwrap()));
    let registry = |kind, server: &str| Target::Registry {
        kind,
        server: server.split(',').map(|one| one.parse().unwrap()).collect(),
        service: "greeter".to_owned(),
    };
    for (text, target) in [
        ("127.0.0.1:50051", static_address("127.0.0.1:50051")),
        ("[::1]:50051", static_address("[::1]:50051")),
        ("dns:127.0.0.1:50051", static_address("127.0.0.1:50051")),
        ("localhost:50051", dns(None, "localhost", 50051)),
        ("greeter.example.org:1", dns(None, "greeter.example.org", 1)),
        ("dns:greeter:50051", dns(None, "greeter", 50051)),
        ("dns:///greeter:50051", dns(None, "greeter", 50051)),
        (
            "dns://127.0.0.53:53/greeter:50051",
            dns(Some("127.0.0.53:53"), "greeter", 50051),
        ),
        ("unix:greeter.sock", unix("greeter.sock")),
        ("unix:/run/greeter", unix("/run/greeter")),
        ("unix:///run/greeter", unix("/run/greeter")),
        ("hello:myworld", Target::Hello("myworld".to_owned())),
        ("hello:///世界", Target::Hello("世界".to_owned())),
        (
            "etcd://127.0.0.1:2379/greeter",
            registry(Kind::Etcd, "127.0.0.1:2379"),
        ),
        (
            "etcd://192.0.2.1:2379,[2001:db8::2]:2379/greeter",
            registry(Kind::Etcd, "192.0.2.1:2379,[2001:db8::2]:2379"),
        ),
        (
            "consul://[::1]:8500/greeter",
            registry(Kind::Consul, "[::1]:8500"),
        ),
    ] {
        let parsed: Target = text.parse()?;
        assert_eq!(parsed, target, "{text}");
        // What is shown of it can be read again.
        assert_eq!(parsed.to_string().parse::<Target>()?, target, "{text}");
    }
    Ok(())
}

#[test]
fn what_is_no_target_is_told_why() {
    for (text, why) in [
        ("", "it names nothing"),
        ("dns:///", "it names nothing"),
        ("hello:", "it names nothing"),
        ("localhost", "the port is missing: `localhost:50051`"),
        ("dns:///localhost", "the port is missing: `localhost:50051`"),
        ("localhost:", "the port is missing: `localhost:50051`"),
        (
            "localhost:http",
            "`http` is no port: it is a number up to 65535",
        ),
        (
            "localhost:65536",
            "`65536` is no port: it is a number up to 65535",
        ),
        ("localhost:0", "nobody can call the port 0"),
        ("::1:50051", "`::1` is no host"),
        (":50051", "`` is no host"),
        ("你好:50051", "`你好` is no host"),
        (
            "dns://localhost:50051",
            "two slashes begin an authority, which another one ends: `dns:///localhost:50051`",
        ),
        (
            "dns://resolver/greeter:50051",
            "the name server has to be an address with a port, and is `resolver`",
        ),
        (
            "unix://run/greeter",
            "`unix` has no authority: `unix:greeter`",
        ),
        ("hello://a/b", "`hello` has no authority: `hello:b`"),
        (
            "etcd:greeter",
            "the registry has to be an address with a port, and is ``",
        ),
        (
            "etcd://127.0.0.1:2379,/greeter",
            "the registry has to be an address with a port, and is ``",
        ),
        (
            "consul://127.0.0.1:8500,127.0.0.1:8501/greeter",
            "`consul` is one agent, the one on this machine",
        ),
        (
            "etcd://127.0.0.1:2379/a/b",
            "`a/b` is no service: at most 63 of a to z, 0 to 9 and -",
        ),
    ] {
        let error = text.parse::<Target>().expect_err(text);
        assert_eq!(error.to_string(), format!("`{text}` is no target: {why}"));
    }
    // A scheme that is added later is named here as well.
    let error = "http://localhost:50051".parse::<Target>();
    let error = error.expect_err("the scheme of a web page").to_string();
    for part in ["scheme `http`", "dns", "unix", "hello", "etcd", "consul"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_server_announces_what_others_can_call() {
    let bound = "127.0.0.1:50051".parse().unwrap();
    let all = "0.0.0.0:50051".parse().unwrap();
    let said = |bound, told| announced(bound, told).map(|address| address.to_string());
    assert_eq!(said(bound, None), Ok("127.0.0.1:50051".to_owned()));
    assert_eq!(
        said(all, Some("192.0.2.1")),
        Ok("192.0.2.1:50051".to_owned())
    );
    assert_eq!(
        said(all, Some("192.0.2.1:80")),
        Ok("192.0.2.1:80".to_owned())
    );
    assert_eq!(
        said(all, None).unwrap_err(),
        "a server can listen on 0.0.0.0:50051, and no client can call it: say what to announce"
    );
    for (told, text) in [("[::]:1", "[::]:1"), ("192.0.2.1:0", "192.0.2.1:0")] {
        let error = said(bound, Some(told)).unwrap_err();
        assert!(error.contains(text), "{error}");
    }
    assert_eq!(
        said(all, Some("everywhere")).unwrap_err(),
        "`everywhere` is no address to announce"
    );
}

#[test]
fn a_map_is_read_whole_or_not_at_all() -> Result<()> {
    let map = resolve::map("a=127.0.0.1:1,127.0.0.1:2 世界=[::1]:3")?;
    assert_eq!(map["a"].len(), 2);
    assert_eq!(map["世界"].len(), 1);
    for (text, why) in [
        ("a", "`a` is not NAME=ADDRESS,ADDRESS…"),
        ("a=127.0.0.1:1,", "`` is no address of `a`"),
        ("a=b", "`b` is no address of `a`"),
    ] {
        assert_eq!(resolve::map(text).unwrap_err().to_string(), why);
    }
    Ok(())
}
