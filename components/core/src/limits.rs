//! Every limit of the product, with its unit last in its name. Crossing one is a
//! clear error that names it; each has a test that crosses it, which says its
//! name. That none is without, `tests/e2e/limits.rs` sees to.

use std::time::Duration;

// --- ids and text ---

/// Bytes in a tenant, scenario, user, item, event or request id.
pub const ID_BYTES: usize = 128;
/// Bytes in a scenario's or experiment's display name, and in a column's.
pub const NAME_BYTES: usize = 256;
/// Bytes in an `action_type`.
pub const ACTION_TYPE_BYTES: usize = 64;
/// Bytes in one categorical value (a category or tag) that is indexed.
pub const TERM_BYTES: usize = 256;

// --- HTTP ---

/// Connections the host serves at once; further ones wait in the backlog.
pub const CONNECTIONS: usize = 1024;
/// Requests in components at once, over all connections.
pub const CONCURRENT_REQUESTS: usize = 256;
/// Requests that may wait for a turn; one more is a 503 with `Retry-After`.
pub const QUEUED_REQUESTS: usize = 2048;
/// Time that a request waits for its turn; then it is a 503 as well.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an ordinary request body.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a behaviours body (`POST /api/v1/behaviors`).
pub const BEHAVIORS_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a bulk import body.
pub const IMPORT_BODY_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Bytes of one line of an NDJSON or CSV import.
pub const LINE_BYTES: usize = 1024 * 1024;
/// Bytes of all request headers together.
pub const HEADER_BYTES: usize = 32 * 1024;
/// Time to receive a request's headers, and that a connection may be without a
/// request.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a client may take between two pieces of a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for one ordinary request, from its turn to its response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a streamed import.
pub const IMPORT_TIMEOUT: Duration = Duration::from_secs(3600);
/// Time that `SIGTERM` gives requests in flight.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Time that an outgoing request may take to connect, to its first byte, and
/// between two bytes, whatever the component asks for.
pub const OUTBOUND_TIMEOUT: Duration = Duration::from_secs(30);

// --- documents ---

/// Bytes of one JSON document.
pub const DOCUMENT_BYTES: usize = 256 * 1024;
/// Depth of nesting in a JSON document.
pub const DOCUMENT_DEPTH: usize = 32;
/// Documents in one `insert-many`.
pub const INSERT_DOCUMENTS: usize = 5000;
/// Keys in one `get-many`.
pub const GET_KEYS: usize = 5000;
/// Documents on one page of a query.
pub const PAGE_DOCUMENTS: u32 = 1000;
/// Documents on a page when the client does not say.
pub const DEFAULT_PAGE_DOCUMENTS: u32 = 50;
/// Values in an item's `embedding`, and in any other vector.
pub const EMBEDDING_VALUES: usize = 1024;
/// Tags of one item.
pub const ITEM_TAGS: usize = 64;
/// Errors listed in an import report; further ones are counted.
pub const IMPORT_ERRORS: usize = 1000;

// --- behaviours ---

/// Events in one call.
pub const EVENTS: usize = 1000;
/// Effects of one event.
pub const EVENT_EFFECTS: usize = 16;
/// Events on a page of a user's or item's history.
pub const HISTORY_EVENTS: u32 = 1000;
/// How far in the future an event's timestamp may lie (clock skew), in ms.
pub const EVENT_FUTURE_MS: u64 = 24 * 3600 * 1000;

// --- profiles ---

/// Values kept per preference field of a profile; the weakest goes first.
pub const PROFILE_PREFERENCES: usize = 128;
/// Recent items kept in a profile.
pub const PROFILE_RECENT_ITEMS: usize = 100;
/// Preferences that a stage is given, strongest first.
pub const STAGE_PREFERENCES: usize = 64;

// --- vectors ---

/// Bytes in the name of a space.
pub const SPACE_NAME_BYTES: usize = 64;
/// Vectors that one call asks for.
pub const VECTOR_HANDLES: usize = 1000;
/// Hits of one query.
pub const VECTOR_HITS: usize = 1000;
/// Handles of a query's filter.
pub const VECTOR_FILTER: usize = 20_000;
/// Vectors in one change of a space.
pub const VECTOR_BATCH: usize = 10_000;

// --- what is learned ---

/// Segments of a blob's name.
pub const BLOB_NAME_SEGMENTS: usize = 8;
/// Bytes of one blob.
pub const BLOB_BYTES: usize = 1024 * 1024 * 1024;
/// Handles that one call asks for the lists of, and entries of a list that it gives.
pub const RELATED: usize = 1000;
/// Items that are kept of what a user did, the heaviest and newest.
pub const LEARNED_HISTORY_ITEMS: usize = 200;
/// Values of a trained vector.
pub const LEARNED_DIMENSIONS: usize = 256;
/// Bytes of neighbours and histories in memory, over all tenants; while there are
/// more, the least recently used go.
pub const LEARNED_CACHE_BYTES: usize = 2 * 1024 * 1024 * 1024;
/// The same of what folding in needs.
pub const FOLD_IN_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Users for whom one run makes slates ahead, those who were there last. With
/// [`COUNT`] items each they take 170 MB in memory, and three times that for the
/// moment in which new ones take the place of old ones.
pub const PRECOMPUTED_USERS: usize = 100_000;
/// Bytes of slates made ahead in memory, over all tenants.
pub const PRECOMPUTED_CACHE_BYTES: usize = 1024 * 1024 * 1024;

// --- the funnel ---

/// Items in a slate.
pub const COUNT: u32 = 200;
/// Items that a request may exclude.
pub const EXCLUDED_ITEMS: usize = 1000;
/// Recall strategies of one scenario (`sources` is a set of 32 bits, the last
/// of which marks pinned items).
pub const RECALL_STRATEGIES: usize = 16;
/// Candidates of one recall channel.
pub const RECALL_LIMIT: u32 = 1000;
/// Candidates after the merge, best first.
pub const CANDIDATES: usize = 5000;
/// Rerank rules of one scenario.
pub const RERANK_RULES: usize = 16;
/// Item and user features of one scenario, each.
pub const FEATURES: usize = 128;
/// Columns that one rerank rule may ask for.
pub const STAGE_COLUMNS: usize = 16;
/// Columns of a feature table, of all kinds together: those of a scenario's
/// features and rules, and as many again that the feature stage makes of them.
pub const TABLE_COLUMNS: usize = 2 * (FEATURES + RERANK_RULES * STAGE_COLUMNS);
/// Items that one rerank rule may ask to have offered (pins).
pub const STAGE_ITEMS: usize = 100;
/// Bytes of one stage's `params`, as JSON.
pub const PARAMS_BYTES: usize = 64 * 1024;
/// Fields of a request's `context`, after flattening.
pub const CONTEXT_FIELDS: usize = 64;
/// Bytes of a request's `context`, as JSON.
pub const CONTEXT_BYTES: usize = 8 * 1024;
/// Exposures kept per user and scenario; the oldest go first.
pub const EXPOSURES: usize = 10_000;
/// Items of one feed: a page's cursor names all that came before it, in 11 bytes each.
pub const FEED_ITEMS: usize = 4000;
/// Seconds for which a scenario may have an answer be fresh, and stale after that.
pub const RESULT_S: u32 = 24 * 3600;
/// Bytes of an answer that is kept; a larger one is computed each time.
pub const RESULT_BYTES: usize = 256 * 1024;
/// Bytes of answers in memory, over all tenants.
pub const RESULT_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Time that a request waits for another one that computes the same answer; then it
/// computes it itself.
pub const RESULT_WAIT: Duration = Duration::from_secs(2);
/// Answers that are computed anew in the background at once, over all tenants; further
/// ones are left to the next request that finds them stale.
pub const REVALIDATIONS: usize = 8;
/// Items of a tenant whose places in slates are counted and not written yet; those of
/// further ones are not counted.
pub const SERVED_ITEMS: usize = 50_000;

// --- experiments ---

/// Experiments of one scenario that run at once.
pub const EXPERIMENTS_RUNNING: usize = 16;
/// Groups of one experiment; there are two at least.
pub const EXPERIMENT_GROUPS: usize = 8;
/// Bytes of one group's `config`, as JSON.
pub const EXPERIMENT_OVERLAY_BYTES: usize = 16 * 1024;
/// Conditions of one experiment's `targeting`.
pub const EXPERIMENT_CONDITIONS: usize = 16;
/// Values of one condition's `in` or `not_in`.
pub const EXPERIMENT_VALUES: usize = 256;
/// Places of an interleaving's slates, the last ones, that what users do is a credit of: 48 MiB.
pub const INTERLEAVED_PLACES: usize = 2 * 1024 * 1024;
/// Bytes in what is expected of an experiment.
pub const HYPOTHESIS_BYTES: usize = 4096;
/// Guardrails of one experiment.
pub const EXPERIMENT_GUARDRAILS: usize = 8;
/// Users of one experiment of whom it is kept what they were shown and did; those who come
/// after count in no report.
pub const EXPERIMENT_USERS: usize = 1_000_000;
/// Points that are kept of how an experiment's comparisons went: one of each at each look.
pub const EXPERIMENT_POINTS: usize = 400;

// --- stages ---

/// Stage calls that one tenant has at work at once; further ones wait, within
/// their time.
pub const TENANT_STAGES: usize = 256;
/// Time for one stage call.
pub const STAGE_TIMEOUT: Duration = Duration::from_millis(250);
/// Linear memory of a stage's instance, in bytes.
pub const STAGE_MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// Linear memory of an endpoint's instance, in bytes.
pub const ENDPOINT_MEMORY_BYTES: usize = 128 * 1024 * 1024;
/// Elements of all tables of an instance.
pub const TABLE_ELEMENTS: usize = 10_000;
/// Guest stack, in bytes.
pub const STACK_BYTES: usize = 512 * 1024;
/// Bytes of stdout and stderr kept per stage call; the rest is dropped.
pub const STAGE_LOG_BYTES: usize = 4 * 1024;
/// Bytes of one stage answer in the host's memory. Texts in it may share bytes in
/// the guest's, so the guest's own limit does not bound this.
pub const STAGE_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Random bytes that a component is given in one call; the host makes them all
/// before it hands them over.
pub const RANDOM_BYTES: u64 = 64 * 1024;
/// Requests that one endpoint instance serves before it is replaced.
pub const INSTANCE_REQUESTS: usize = 1024;
/// Inserts of several documents that one endpoint instance has under way: one is
/// written, one prepared.
pub const INSTANCE_INSERTS: usize = 2;
/// Time that an idle endpoint instance is kept.
pub const INSTANCE_IDLE: Duration = Duration::from_secs(1);

// --- the exposure log ---

/// Slates on a page of the exposure log.
pub const LOGGED_SLATES: u32 = 1000;
/// Bytes of a logged slate.
pub const LOGGED_SLATE_BYTES: usize = 1024 * 1024;
/// How long a slate is kept: 30 days.
pub const EXPOSURE_LOG_MS: u64 = 30 * 24 * 3600 * 1000;
/// Slates that a tenant's log keeps.
pub const EXPOSURE_LOG_SLATES: u64 = 2_000_000;

// --- models ---

/// Bytes of an uploaded model's ONNX file.
pub const MODEL_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of its manifest.
pub const MODEL_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// Bytes in a model's name, version and objective; two of them and a colon are an id.
pub const MODEL_NAME_BYTES: usize = 63;
/// Inputs of a model's graph.
pub const MODEL_INPUTS: usize = 16;
/// Columns of all inputs of a model together.
pub const MODEL_COLUMNS: usize = 512;
/// Values of one column's vocabulary.
pub const MODEL_VOCABULARY: usize = 100_000;
/// Values that one column takes of a multi-categorical feature.
pub const MODEL_COLUMN_LENGTH: usize = 64;
/// Golden rows of a model.
pub const MODEL_GOLDEN_ROWS: usize = 64;
/// Operators of a model's graph, and constants.
pub const MODEL_OPERATORS: usize = 4096;
/// Dimensions of a tensor in it.
pub const MODEL_TENSOR_DIMENSIONS: usize = 8;
/// Bytes of a tensor in it, at the number of rows that are scored at a time.
pub const MODEL_TENSOR_BYTES: usize = 64 * 1024 * 1024;
/// Targets (of a classifier, classes) of a tree ensemble.
pub const MODEL_TREE_TARGETS: usize = 16;
/// Bytes of what is said of a model that is refused, which may quote it.
pub const MODEL_MESSAGE_BYTES: usize = 1024;
/// Names of unknown operators that are listed then.
pub const MODEL_MESSAGE_NAMES: usize = 16;
/// Versions of all models of a scenario.
pub const MODEL_VERSIONS: usize = 1000;
/// Uploads of models that are under way at once, over all tenants; of one tenant, one is.
pub const MODEL_UPLOADS: usize = 8;
/// Time for an uploaded model to be read and prepared.
pub const MODEL_LOAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Linear memory of an instance that holds a model, in bytes.
pub const MODEL_MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Rows that one call has a model predict.
pub const PREDICT_ROWS: usize = 1000;
/// Models that are ready to rank, over all tenants; the least recently used goes.
pub const MODEL_IMAGES: usize = 1000;
/// Bytes of models that were ready once on the disk, over all tenants; while there are
/// more, the least recently used go, to be made again when they are asked for.
pub const MODEL_IMAGES_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// How long one stays there that nobody uses: its model was deleted, or it is of another
/// version of the component.
pub const MODEL_IMAGE_UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);
/// Instances that a model keeps between calls.
pub const MODEL_IDLE_INSTANCES: usize = 4;
/// How long it keeps one that is not used.
pub const MODEL_IDLE: Duration = Duration::from_secs(60);

// --- components of tenants ---

/// Bytes of an uploaded component, unless the operator says otherwise.
pub const COMPONENT_BYTES: usize = 8 * 1024 * 1024;
/// The most that an operator may allow.
pub const COMPONENT_BYTES_MOST: usize = 64 * 1024 * 1024;
/// Bytes in a component's name and version; two of them and a colon are an id.
pub const COMPONENT_NAME_BYTES: usize = 63;
/// Bytes of a component's manifest.
pub const COMPONENT_MANIFEST_BYTES: usize = 32 * 1024;
/// Depth of the JSON Schema of its params.
pub const COMPONENT_SCHEMA_DEPTH: usize = 16;
/// Components of a tenant.
pub const COMPONENTS: usize = 100;
/// Versions of a component.
pub const COMPONENT_VERSIONS: usize = 50;
/// Uploads and certifications that are under way at once, over all tenants; of one tenant,
/// one is.
pub const COMPONENT_UPLOADS: usize = 8;
/// Time for an upload to be admitted and compiled, in a process of its own.
pub const COMPONENT_COMPILE_TIMEOUT: Duration = Duration::from_secs(90);
/// Memory of that process, in bytes.
pub const COMPONENT_COMPILE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Components and core modules in a component, together.
pub const COMPONENT_MODULES: usize = 64;
/// How deep components lie in components.
pub const COMPONENT_NESTING: usize = 8;
/// Instances of core modules that one of it is made of.
pub const COMPONENT_INSTANCES: usize = 64;
/// Memories of all those.
pub const COMPONENT_MEMORIES: usize = 2;
/// Tables of all those.
pub const COMPONENT_TABLES: usize = 20;
/// Imports of a component, those of its parts included.
pub const COMPONENT_IMPORTS: usize = 4000;
/// Functions of all its core modules.
pub const COMPONENT_FUNCTIONS: usize = 60_000;
/// Values that one of them takes, and that it gives; each is looked at wherever it is called
/// or a block of that type is left.
pub const COMPONENT_FUNCTION_VALUES: usize = 128;
/// Types that it defines, those of its parts included.
pub const COMPONENT_TYPES: usize = 20_000;
/// Calls of tenants' components that are at work at once, over all tenants; further ones wait,
/// and are not made when that takes longer than a call may.
pub const COMPONENT_CALLS: usize = 512;
/// Time for one call of a component of a tenant's.
pub const COMPONENT_TIMEOUT: Duration = Duration::from_millis(50);
/// Fuel for one call, about one an instruction.
pub const COMPONENT_FUEL: u64 = 200_000_000;
/// Linear memory of its instance, in bytes.
pub const COMPONENT_MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// Elements of all its tables.
pub const COMPONENT_TABLE_ELEMENTS: usize = 20_000;
/// Bytes of one answer of it in the host's memory.
pub const COMPONENT_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Handles of its host's (streams, pollables, …) that it has at once.
pub const COMPONENT_HANDLES: usize = 256;
/// Bytes of what a version printed that are kept in this process, the newest.
pub const COMPONENT_LOG_BYTES: usize = 16 * 1024;
/// Calls of its own components that one tenant has at work at once; further ones wait, and are
/// not made when that takes longer than a call may.
pub const TENANT_COMPONENT_CALLS: usize = 16;
/// Time of a processor that one tenant's components may take a second, unless the operator
/// says otherwise.
pub const TENANT_COMPONENT_TIME: Duration = Duration::from_millis(200);
/// Seconds of that which may be saved up.
pub const TENANT_COMPONENT_BURST: u32 = 5;
/// Failures in a row after which a version is not called for a while.
pub const COMPONENT_FAILURES: u32 = 5;
/// How long it is not called then the first time; each time that a probe fails, twice as
/// long.
pub const COMPONENT_REST: Duration = Duration::from_secs(5);
/// How long at most.
pub const COMPONENT_REST_MOST: Duration = Duration::from_secs(300);
/// Components that are ready to run, over all tenants; the least recently used goes.
pub const COMPONENTS_READY: usize = 8192;
/// How long one that nobody calls is ready.
pub const COMPONENT_IDLE: Duration = Duration::from_secs(600);
/// Bytes of components' machine code in memory, over all tenants; while there are more, that of
/// those called least recently is let go of, to be read again page by page when it runs.
pub const COMPONENTS_CODE_BYTES: u64 = 512 * 1024 * 1024;
/// Bytes of compiled components on the disk, over all tenants; while there are more, the
/// least recently used go, to be compiled again when they are asked for.
pub const COMPONENTS_COMPILED_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// Requests of a scenario that are recorded, to certify components with; the newest.
pub const RECORDED_REQUESTS: usize = 100;
/// Time between two of them, at least.
pub const RECORDED_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a recorded request.
pub const RECORDED_REQUEST_BYTES: usize = 1024 * 1024;
/// Bytes of recorded requests in memory, over all scenarios; the least recently recorded
/// scenarios go.
pub const RECORDED_BYTES: u64 = 64 * 1024 * 1024;

// --- requests that are kept ---

/// Recordings of a tenant that are kept, the newest.
pub const RECORDINGS: u64 = 5000;
/// Bytes of one, compressed.
pub const RECORDING_BYTES: usize = 2 * 1024 * 1024;
/// Recordings that wait to be written, over all tenants; beyond that requests are not recorded.
pub const RECORDINGS_WAITING: usize = 1024;
/// Bytes of what was answered in these together; one alone may have more.
pub const RECORDINGS_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Requests of a tenant that are recorded within a second because they failed, or a stage of them
/// did.
pub const RECORDED_FAILURES_A_SECOND: u32 = 10;
/// Calls of capabilities that one component makes in a request; with more it is not recorded.
pub const RECORDED_CALLS: usize = 1024;
/// Seconds for which a recording is kept, unless the scenario says otherwise.
pub const RECORDING_TTL_S: u32 = 24 * 3600;
/// Hours that a scenario may say at most.
pub const RECORDING_TTL_HOURS: f32 = 30.0 * 24.0;
/// Recordings that one run of the job `replay` runs again.
pub const REPLAYED: usize = 5000;
/// Differences that a request that is run again tells.
pub const REPLAY_DIFFERENCES: usize = 50;
/// Requests that wait for a config to be tried on them, over all tenants; beyond that it is
/// not tried.
pub const SHADOWS_WAITING: usize = 64;
/// Requests after which what came of it is forgotten, and counted anew.
pub const SHADOW_REQUESTS: u64 = 10_000;
/// Scenarios of which it is remembered what came of that.
pub const SHADOWS: usize = 4096;

// --- streams ---

/// Events that an operator takes in one step.
pub const STREAM_EVENTS: u32 = 1000;
/// Keys whose windows fire in one step.
pub const STREAM_KEYS: usize = 500;
/// Length of a window, and lateness that one allows, in milliseconds.
pub const STREAM_WINDOW_MS: u64 = 7 * 24 * 3_600_000;
/// Time from one window's begin to the next one's, at least, in milliseconds.
pub const STREAM_SLIDE_MS: u64 = 1000;
/// Panes of a window.
pub const STREAM_PANES: u64 = 288;
/// Bytes of an accumulator.
pub const STREAM_ACCUMULATOR_BYTES: usize = 16 * 1024;
/// Bytes of accumulators that are read for the windows of one step, about.
pub const STREAM_WINDOWS_BYTES: usize = 8 * 1024 * 1024;
/// Changes that a pane says.
pub const STREAM_CHANGES: usize = 64;
/// Preferences, and counters, of a user that a pane moves.
pub const STREAM_PREFERENCES: usize = 512;
/// Outputs that a window says.
pub const STREAM_OUTPUTS: usize = 16;
/// Bytes of a message that is published.
pub const STREAM_MESSAGE_BYTES: usize = 16 * 1024;
/// Bytes that an operator's answers to one call may have together.
pub const STREAM_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Time for one call of an operator.
pub const STREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// Calls of an operator that may fail while it is looked for the events of a step that it
/// fails with; those that are not found by then are passed over together.
pub const STREAM_FAILURES: usize = 256;
/// How far behind the newest event's time windows fire, so that events may come out of
/// order.
pub const STREAM_OUT_OF_ORDER: Duration = Duration::from_secs(10);
/// How far behind the clock they fire when no events come.
pub const STREAM_IDLE: Duration = Duration::from_secs(60);
/// Time for which a message that was published is kept.
pub const TOPIC_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Messages of a topic of a tenant that are kept; the newest.
pub const TOPIC_MESSAGES: usize = 1_000_000;
/// Events of a tenant that operators passed over, of which it is kept why; the newest.
pub const DEAD_LETTERS: usize = 10_000;
/// Counters of a tenant.
pub const METRIC_SERIES: usize = 10_000;
/// Counters beside them, which its own operators add to.
pub const METRIC_OWN_SERIES: usize = 1_000;
/// Labels of a counter.
pub const METRIC_LABELS: usize = 8;
/// Bytes of the name of a counter or of a label.
pub const METRIC_NAME_BYTES: usize = 64;
/// What a pane adds to a counter at most.
pub const METRIC_AMOUNT: f64 = 1e15;

// --- jobs ---

/// Runs of jobs that a process has at work at once, unless it is told otherwise:
/// each may take a core and much memory.
pub const RUNNING_JOBS: usize = 1;
/// Time for which a run is its runner's, which makes it longer as it goes on; when
/// it is over, the run is given to another.
pub const JOB_LEASE: Duration = Duration::from_secs(30);
/// Times that a run may fail in a way that can pass, or be left by a process that
/// ended, before it has failed for good.
pub const JOB_FAILURES: u32 = 5;
/// Runs that are remembered of each job of a scenario; the oldest go first.
pub const JOB_RUNS: u32 = 20;
/// Bytes of what a run keeps to be taken up again.
pub const JOB_CHECKPOINT_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of what came of a run, as JSON, and of why it failed; an error is cut.
pub const JOB_OUTCOME_BYTES: usize = 16 * 1024;

// --- sync ---

/// Sources of one `sync` job.
pub const SYNC_SOURCES: usize = 8;
/// Bytes of the path or URL of a source.
pub const SYNC_FROM_BYTES: usize = 768;
/// Bytes of one source, decompressed, unless the operator says otherwise.
pub const SYNC_SOURCE_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Lines of one source, unless the operator says otherwise.
pub const SYNC_SOURCE_LINES: u64 = 100_000_000;
/// Time for one attempt of a run, unless the operator says otherwise.
pub const SYNC_TIMEOUT: Duration = Duration::from_secs(3600);
/// Bytes of each further file that a mapping looks values up in: it is in memory.
pub const SYNC_TABLE_BYTES: u64 = 64 * 1024 * 1024;
/// Lines that were refused, of each source, which the outcome shows; the rest are
/// counted.
pub const SYNC_ERRORS: usize = 20;

// --- caches and stores ---

/// Tenants whose files are open at once.
pub const OPEN_TENANTS: usize = 256;
/// Bytes of cached documents, over all tenants.
pub const DOCUMENT_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of cached item rows, over all tenants.
pub const ROW_CACHE_BYTES: u64 = 128 * 1024 * 1024;
/// Bytes of cached handle lists, over all tenants.
pub const LIST_CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of live structures in memory, over all tenants.
pub const LIVE_CACHE_BYTES: u64 = 128 * 1024 * 1024;
/// Spaces of vectors that are open at once.
pub const OPEN_SPACES: usize = 256;
/// Bytes of vectors in memory, over all tenants; while there are more, the least
/// recently used spaces are closed.
pub const VECTOR_BYTES: usize = 2 * 1024 * 1024 * 1024;
/// The same of one tenant. A space that alone has more takes no further vectors.
pub const TENANT_VECTOR_BYTES: usize = 1024 * 1024 * 1024;
/// Bytes of remembered answers of stages' `check`, with the params they are about.
pub const CHECK_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Members of one hot list; the coldest go first.
pub const HOT_MEMBERS: usize = 100_000;
/// Bytes of a key of `spin:key-value` and `wasi:keyvalue`.
pub const KEY_VALUE_KEY_BYTES: usize = 1024;
/// Bytes of a value of theirs.
pub const KEY_VALUE_VALUE_BYTES: usize = 10 * 1024 * 1024;
/// Keys in one batch of `wasi:keyvalue`.
pub const KEY_VALUE_BATCH_KEYS: usize = 1000;
/// Bytes of the values in one batch, of those that are read too.
pub const KEY_VALUE_BATCH_BYTES: usize = 16 * 1024 * 1024;
/// Stores, buckets and compare-and-swap handles that one endpoint instance has open.
pub const INSTANCE_STORES: usize = 256;
/// Bytes of the calls of `spin:key-value` that one endpoint instance has under way.
pub const INSTANCE_KEY_VALUE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of the values that the compare-and-swap handles of one instance remember.
pub const INSTANCE_CAS_BYTES: usize = 32 * 1024 * 1024;
/// Connections that components have open to Redis servers of their choice
/// (`spin:redis`).
pub const REDIS_CONNECTIONS: usize = 256;
/// Connections that one endpoint instance has open of them.
pub const INSTANCE_REDIS_CONNECTIONS: usize = 16;
/// Bytes of the calls of `spin:redis` that one endpoint instance has under way.
pub const INSTANCE_REDIS_BYTES: usize = 32 * 1024 * 1024;
/// Time for one call of `spin:redis`, as for its connection.
pub const REDIS_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of one command of `spin:redis`.
pub const REDIS_REQUEST_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of one reply of `spin:redis`; in memory it may take several times as many.
pub const REDIS_REPLY_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of one line of an export: the largest value of `spin:key-value`, in base64.
pub const EXPORT_LINE_BYTES: usize = 16 * 1024 * 1024;
