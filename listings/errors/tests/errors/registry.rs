//! What the registry says of each thing that can go wrong.

use std::{future::pending, path::Path, time::Duration};

use errors::{
    call_error::{CallError, Kind},
    details::{detail, with_detail},
    error::{DOMAIN, Error, PERSON_NOT_FOUND, Violation},
    language::Language,
    pb::{
        CreatePeopleRequest, GetPersonRequest, ListPeopleRequest, LookUpPeopleRequest, Person,
        SimilarNames, person_service_client::PersonServiceClient,
    },
    people::People,
    quota::{AT_ONCE, Quota, WINDOW},
    registry::{MAX_ADDRESS_BYTES, MAX_AGE, MAX_NAME_BYTES},
    serve,
};
use tokio::{net::TcpListener, time};
use tonic::{
    Code, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
    transport::Channel,
};
use tonic_types::StatusExt;

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;
type Client = PersonServiceClient<Channel>;

/// A registry of the people in `folder`.
async fn registry(folder: &Path) -> Result<Client> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let people = People::open(folder.to_owned()).await?;
    tokio::spawn(serve(listener, people, pending()));
    Ok(Client::connect(uri).await?)
}

fn person(name: &str, age: u32, address: &str) -> Person {
    Person {
        name: name.to_owned(),
        age,
        address: address.to_owned(),
        ..Person::default()
    }
}

async fn create(client: &mut Client, person: Person) -> Result<u64, Status> {
    let person = Some(person);
    let people = tokio_stream::once(CreatePeopleRequest { person });
    Ok(client.create_people(people).await?.into_inner().created)
}

async fn get(client: &mut Client, name: &str) -> Result<Person, Status> {
    let name = name.to_owned();
    let response = client.get_person(GetPersonRequest { name }).await?;
    Ok(response.into_inner().person.unwrap_or_default())
}

#[tokio::test]
async fn somebody_is_found_and_kept() -> Result {
    let folder = tempfile::tempdir()?;
    let mut client = registry(folder.path()).await?;
    assert_eq!(create(&mut client, person("李雷", 21, "北京")).await?, 1);
    assert_eq!(create(&mut client, person("../jack", 18, "")).await?, 1);

    let mut another = registry(folder.path()).await?;
    assert_eq!(get(&mut another, "李雷").await?.address, "北京");
    let mut people = another
        .list_people(ListPeopleRequest {})
        .await?
        .into_inner();
    let mut names = Vec::new();
    while let Some(response) = people.message().await? {
        names.push(response.person.unwrap_or_default().name);
    }
    assert_eq!(names, ["../jack", "李雷"]);
    Ok(())
}

#[tokio::test]
async fn nobody_is_not_found_with_a_reason_and_names_that_are_alike() -> Result {
    let folder = tempfile::tempdir()?;
    let mut client = registry(folder.path()).await?;
    create(&mut client, person("jenny", 21, "")).await?;
    create(&mut client, person("mike", 21, "")).await?;

    let status = get(&mut client, "jeny").await.expect_err("nobody has it");
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "nobody has the name \"jeny\"")
    );
    let details = status.check_error_details()?;
    let info = details.error_info().ok_or("a reason")?;
    assert_eq!((&*info.reason, &*info.domain), (PERSON_NOT_FOUND, DOMAIN));
    let resource = details.resource_info().ok_or("a resource")?;
    assert_eq!(
        (&*resource.resource_type, &*resource.resource_name),
        ("person.v1.Person", "jeny")
    );
    let similar = detail::<SimilarNames>(&status).ok_or("similar names")?;
    assert_eq!(similar.names, ["jenny"]);
    let CallError { kind, .. } = status.into();
    assert!(matches!(kind, Kind::NotFound { similar } if similar == ["jenny"]));
    Ok(())
}

/// The details are in the trailers then, not in the headers of the response.
#[tokio::test]
async fn a_stream_that_ends_early_has_details_too() -> Result {
    let folder = tempfile::tempdir()?;
    let mut client = registry(folder.path()).await?;
    create(&mut client, person("jack", 18, "")).await?;
    let names = ["jack", "jac"].map(|name| LookUpPeopleRequest {
        name: name.to_owned(),
    });
    let response = client.look_up_people(tokio_stream::iter(names)).await?;
    let mut people = response.into_inner();
    assert!(people.message().await?.is_some());
    let status = people.message().await.expect_err("nobody has it");
    assert_eq!(status.code(), Code::NotFound);
    let similar = detail::<SimilarNames>(&status).ok_or("similar names")?;
    assert_eq!(similar.names, ["jack"]);
    Ok(())
}

#[tokio::test]
async fn all_that_is_wrong_with_a_person_is_said_at_once() -> Result {
    let folder = tempfile::tempdir()?;
    let mut client = registry(folder.path()).await?;
    let wrong = [
        person("", MAX_AGE + 1, &"x".repeat(MAX_ADDRESS_BYTES + 1)),
        person(&"x".repeat(MAX_NAME_BYTES + 1), 0, ""),
        Person::default(),
    ];
    let fields = [
        &["person.name", "person.age", "person.address"][..],
        &["person.name"],
        &["person.name"],
    ];
    for (person, fields) in wrong.into_iter().zip(fields) {
        let status = create(&mut client, person).await.expect_err("wrong");
        assert_eq!(status.code(), Code::InvalidArgument);
        let CallError { kind, .. } = status.into();
        let Kind::Invalid(violations) = kind else {
            return Err(format!("{kind:?}").into());
        };
        let found: Vec<_> = violations.iter().map(|it| &*it.field).collect();
        assert_eq!(found, fields);
    }
    let right = person(
        &"x".repeat(MAX_NAME_BYTES),
        MAX_AGE,
        &"x".repeat(MAX_ADDRESS_BYTES),
    );
    assert_eq!(create(&mut client, right).await?, 1);
    let status = get(&mut client, "").await.expect_err("no name");
    assert_eq!(status.code(), Code::InvalidArgument);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_too_fast_is_told_when_to_come_again() -> Result {
    let quota = Quota::default();
    for _ in 0..AT_ONCE {
        quota.take()?;
    }
    let error = quota.take().expect_err("one too many");
    let Error::Busy { retry_after } = error else {
        return Err(error.into());
    };
    time::advance(retry_after - Duration::from_millis(1)).await;
    quota.take().expect_err("a little too early");
    time::advance(Duration::from_millis(1)).await;
    quota.take()?;

    let status = Status::from(Error::Busy { retry_after }.told_in(Language::English));
    assert_eq!(status.code(), Code::ResourceExhausted);
    let details = status.check_error_details()?;
    assert_eq!(
        details.retry_info().and_then(|it| it.retry_delay),
        Some(WINDOW)
    );
    assert!(details.has_quota_failure_violations());
    Ok(())
}

/// What is wrong with the registry is nobody else's: the message has a number.
#[tokio::test]
async fn what_is_broken_is_hidden_under_a_number() -> Result {
    let folder = tempfile::tempdir()?;
    let inner = folder.path().join("people");
    let mut client = registry(&inner).await?;
    create(&mut client, person("jenny", 21, "")).await?;

    let file = People::open(inner.clone()).await?.path("jenny");
    std::fs::write(&file, b"\xff\xff")?;
    let damaged = get(&mut client, "jenny").await.expect_err("it is damaged");
    std::fs::remove_dir_all(&inner)?;
    let gone = get(&mut client, "jenny").await.expect_err("it is gone");
    for (status, code) in [(damaged, Code::DataLoss), (gone, Code::Internal)] {
        assert_eq!(status.code(), code);
        let all = format!("{status:?} {:?}", String::from_utf8_lossy(status.details()));
        assert!(
            !all.contains("people/") && !all.contains("os error"),
            "{all}"
        );
        let CallError { kind, status, .. } = status.into();
        let Kind::Failed { number } = kind else {
            return Err(format!("{kind:?}").into());
        };
        assert!(status.message().contains(&number), "{status}");
    }
    Ok(())
}

/// Whatever stands in it, or if it is not a file at all.
#[tokio::test]
async fn a_damaged_file_is_the_matter_of_its_own_person() -> Result {
    let folder = tempfile::tempdir()?;
    let people = People::open(folder.path().to_owned()).await?;
    let mut client = registry(folder.path()).await?;
    create(&mut client, person("jenny", 21, "")).await?;
    create(&mut client, person("李雷", 21, "")).await?;
    let jenny = std::fs::read(people.path("jenny"))?;

    type Damage<'a> = &'a dyn Fn(&Path) -> std::io::Result<()>;
    let damage: [Damage; 5] = [
        &|file| std::fs::write(file, b"\xff\xff"),
        &|file| std::fs::write(file, b""),
        &|file| std::fs::write(file, &jenny[..3]),
        &|file| std::fs::write(file, &jenny), // somebody else's
        &|file| std::fs::create_dir(file),
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        damage(&people.path(&format!("mike-{number}")))?;
    }
    for number in 0..damage.len() {
        let name = format!("mike-{number}");
        let status = get(&mut client, &name).await.expect_err("it is damaged");
        let code = if number == 4 {
            Code::Internal
        } else {
            Code::DataLoss
        };
        assert_eq!(status.code(), code, "{name}: {status}");
    }

    let status = get(&mut client, "jeny").await.expect_err("nobody has it");
    assert_eq!(status.code(), Code::NotFound);
    let similar = detail::<SimilarNames>(&status).ok_or("similar names")?;
    assert_eq!(similar.names, ["jenny"]);
    let mut all = client.list_people(ListPeopleRequest {}).await?.into_inner();
    let mut names = Vec::new();
    while let Some(response) = all.message().await? {
        names.push(response.person.unwrap_or_default().name);
    }
    assert_eq!(names, ["jenny", "李雷"]);
    // And a person who comes again is whole.
    create(&mut client, person("mike-0", 20, "")).await?;
    assert_eq!(get(&mut client, "mike-0").await?.age, 20);
    Ok(())
}

#[test]
fn each_error_is_told_in_two_languages() -> Result {
    let errors: [fn() -> Error; 4] = [
        || Error::NotFound {
            name: "李雷".to_owned(),
            similar: Vec::new(),
        },
        || {
            Error::Invalid(vec![Violation {
                field: "name",
                description: "it is empty".to_owned(),
            }])
        },
        || Error::Busy {
            retry_after: WINDOW,
        },
        || Error::Damaged { path: "x".into() },
    ];
    for error in errors {
        for (language, tag) in [(Language::English, "en"), (Language::Chinese, "zh-CN")] {
            let status = Status::from(error().told_in(language));
            let told = status.get_details_localized_message().ok_or("a message")?;
            assert_eq!(told.locale, tag);
            let chinese = told.message.ends_with('。');
            assert_eq!(chinese, language == Language::Chinese, "{}", told.message);
            // For programmers, and in English.
            assert!(!status.message().ends_with('。'), "{status}");
        }
    }
    Ok(())
}

#[test]
fn a_caller_gets_the_first_language_that_is_spoken() {
    let asked = |languages: &'static str| {
        let mut metadata = MetadataMap::new();
        let languages = AsciiMetadataValue::from_static(languages);
        metadata.insert("accept-language", languages);
        Language::asked_for(&metadata)
    };
    assert_eq!(Language::asked_for(&MetadataMap::new()), Language::English);
    assert_eq!(asked("zh-CN"), Language::Chinese);
    assert_eq!(asked("fr, zh;q=0.9, en;q=0.8"), Language::Chinese);
    assert_eq!(asked("en-GB,zh"), Language::English);
    assert_eq!(asked(",;,-"), Language::English);
}

#[test]
fn a_detail_of_our_own_stands_beside_the_others() -> Result {
    let status = Status::from(
        Error::Busy {
            retry_after: WINDOW,
        }
        .told_in(Language::English),
    );
    let similar = SimilarNames {
        names: vec!["李雷".to_owned()],
    };
    let status = with_detail(&status, &similar);
    assert_eq!(detail::<SimilarNames>(&status), Some(similar));
    assert!(status.get_details_retry_info().is_some());
    // What a program of another make looks for.
    let url = b"type.googleapis.com/person.v1.SimilarNames";
    assert!(status.details().windows(url.len()).any(|it| it == url));
    Ok(())
}

#[test]
fn a_proxy_s_not_found_is_not_the_registry_s() {
    let CallError { kind, .. } = Status::not_found("no such route").into();
    assert!(matches!(kind, Kind::Other(Code::NotFound)), "{kind:?}");
}
