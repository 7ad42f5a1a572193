//! People, kept in a folder: a file for each.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use prost::Message;
use sha2::{Digest, Sha256};
use tokio::{fs, sync::Mutex};

use crate::{error::Error, pb::Person};

/// How many names are told to a client that asks for one that nobody has.
const SIMILAR: usize = 3;

/// From here on two names are similar. (1 is the same, 0 is nothing alike.)
const ALIKE: f64 = 0.8;

/// A folder of people.
#[derive(Debug)]
pub struct People {
    folder: PathBuf,
    /// One at a time: two would write the same new file.
    writing: Mutex<()>,
}

impl People {
    /// In `folder`, which is made if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if it cannot be made.
    pub async fn open(folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&folder).await.map_err(at(&folder))?;
        let writing = Mutex::new(());
        Ok(Self { folder, writing })
    }

    // ANCHOR: get
    /// The person of that name.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Damaged`] and [`Error::Storage`].
    pub async fn get(&self, name: &str) -> Result<Person, Error> {
        let path = self.path(name);
        match fs::read(&path).await {
            Ok(bytes) => self.person(&bytes, &path),
            // No file, so nobody: if there still is a folder. To list it tells.
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound {
                name: name.to_owned(),
                similar: similar(name, &self.all().await?),
            }),
            Err(error) => Err(at(&path)(error)),
        }
    }
    // ANCHOR_END: get

    /// Everybody, in the order of their names. A file that cannot be read is logged
    /// and left out: the others are not to suffer from it.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if the folder cannot be read.
    pub async fn all(&self) -> Result<Vec<Person>, Error> {
        let mut people = Vec::new();
        let folder = at(&self.folder);
        let mut files = fs::read_dir(&self.folder).await.map_err(&folder)?;
        while let Some(file) = files.next_entry().await.map_err(&folder)? {
            let path = file.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "person")
            {
                match self.read(&path).await {
                    Ok(person) => people.push(person),
                    Err(error) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(%error, cause, "left out");
                    }
                }
            }
        }
        people.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(people)
    }

    async fn read(&self, path: &Path) -> Result<Person, Error> {
        let bytes = fs::read(path).await.map_err(at(path))?;
        self.person(&bytes, path)
    }

    /// Keeps a person, and replaces the one who had the name.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn put(&self, person: &Person) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let path = self.path(&person.name);
        // A call that reads meanwhile finds the old person or the new one, never half.
        let new = path.with_extension("new");
        fs::write(&new, person.encode_to_vec())
            .await
            .map_err(at(&new))?;
        fs::rename(&new, &path).await.map_err(at(&path))
    }

    /// The file of the person of that name, which may hold what a file's name must not.
    pub fn path(&self, name: &str) -> PathBuf {
        let mut file = String::new();
        for byte in Sha256::digest(name) {
            file.push_str(&format!("{byte:02x}"));
        }
        self.folder.join(file).with_extension("person")
    }

    /// The person in a file. Bytes that decode may be damaged all the same: no
    /// bytes at all are a person without a name. So the name has to be the file's.
    fn person(&self, bytes: &[u8], path: &Path) -> Result<Person, Error> {
        let person = Person::decode(bytes).ok();
        let person = person.filter(|person| self.path(&person.name) == path);
        person.ok_or_else(|| Error::Damaged {
            path: path.to_owned(),
        })
    }
}

/// What the system says, and of what.
fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Storage {
        path: path.clone(),
        source,
    }
}

/// Names that are nearly `name`, the nearest first. (Everybody may list all
/// names. Where they may not, this would tell them.)
fn similar(name: &str, people: &[Person]) -> Vec<String> {
    let mut names: Vec<(f64, &str)> = people
        .iter()
        .map(|person| (strsim::jaro_winkler(name, &person.name), &*person.name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .collect();
    names.sort_by(|one, other| one.0.total_cmp(&other.0).reverse());
    names.truncate(SIMILAR);
    names.into_iter().map(|(_, name)| name.to_owned()).collect()
}
