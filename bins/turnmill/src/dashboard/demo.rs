//! The demo: conversations of an invented assistant, which are part of the binary.

use std::path::PathBuf;
use std::time::SystemTime;

use turnmill_formats::shipped;
use turnmill_ingest::RowRules;
use turnmill_markers::{FileFormat, MarkerSet, SourceFile};
use turnmill_model::{PartitionId, Settings};
use turnmill_pipeline::{PatternEvent, PatternTools, Pipeline, Stop, explain};
use turnmill_sink::Store as _;
use turnmill_sink_sqlite::SqliteStore;
use turnmill_source::{FileOptions, FileSource, Source};
use turnmill_stores::AnyStore;

use crate::definitions::now;
use crate::failure::Failure;

/// The events, made by `bins/turnmill/demo/make.py` from a capture of a real server.
const CAPTURE: &[u8] = include_bytes!("../../demo/parcel.jsonl.gz");

/// Markers of these conversations.
const MARKERS: &[u8] = include_bytes!("../../demo/markers.yml");

/// A temporary store with the events of the demo.
pub(super) struct DemoStore {
    path: PathBuf,
}

impl DemoStore {
    /// Makes the store in a folder of its own, which the end of the process by a signal removes.
    pub(super) async fn make() -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("turnmill-demo-{}-{}", std::process::id(), now.subsec_nanos());
        let folder = std::env::temp_dir().join(name);
        // Fails if the folder exists, so no other process uses it.
        std::fs::create_dir(&folder).map_err(|error| Failure::Demo(error.to_string()))?;
        let removed = folder.clone();
        // A container's first process has a handler already, and its files end with it.
        let _ = ctrlc::set_handler(move || {
            let _ = std::fs::remove_dir_all(&removed);
            std::process::exit(0);
        });
        let demo = Self { path: folder.join("demo.sqlite") };
        demo.fill().await?;
        Ok(demo)
    }

    async fn fill(&self) -> Result<(), Failure> {
        self.add_markers().await?;
        let partition = PartitionId::new("demo", "parcel");
        let rules = RowRules::new(&Settings::default(), shipped);
        let mut pipeline = Pipeline::new(self.store(), &rules, Stop::default());
        let mut open = |_: Option<&_>| {
            let source = FileSource::stream(partition.clone(), Box::new(CAPTURE), FileOptions::default())?;
            Ok(Box::new(source) as Box<dyn Source>)
        };
        let mut observer = |_: &turnmill_pipeline::Event<'_>| {};
        let drained = pipeline.drain(None, &mut open, &mut observer).await;
        drained.map_err(|error| Failure::Demo(explain(&error)))?;
        Ok(pipeline.into_store().finish()?)
    }

    /// Creates the store with its markers, so that they see every event.
    async fn add_markers(&self) -> Result<(), Failure> {
        let file = SourceFile { name: "markers.yml".into(), bytes: MARKERS.into(), format: FileFormat::Yaml };
        let (markers, _) = MarkerSet::parse(&[file])
            .map_err(|errors| Failure::Demo(errors.first().map(ToString::to_string).unwrap_or_default()))?;
        let mut store = self.store();
        store.open(&Settings::default()).await?;
        let mut ignore = |_: PatternEvent<'_>| {};
        PatternTools::new(&mut store, Stop::default(), &mut ignore).upload(&markers, now()).await?;
        Ok(store.finish()?)
    }

    /// Returns the store, not opened yet.
    pub(super) fn store(&self) -> AnyStore {
        SqliteStore::file(&self.path).into()
    }
}
