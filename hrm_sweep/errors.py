"""The exceptions of hrm-sweep. Every message says what was found, what was expected and what to do next.

HrmSweepError
 ├─ ConfigError        a RunConfig, preset or override
 ├─ SpaceError         a search space
 ├─ DataError          a puzzle folder, a CSV file, a published set
 ├─ CheckpointError    weights or a training state that cannot be loaded
 ├─ RunDirectoryError  a run directory that is missing, foreign, locked or damaged
 ├─ MetricsError       an export of metrics that cannot be used
 ├─ TrainingError      a run that cannot go on
 │   ├─ NonFiniteError the loss or a gradient became NaN or infinite
 │   └─ DiskFullError  a file of the run could not be written
 ├─ StorageError       the database of studies cannot be used
 │   └─ StorageAwayError  its server does not answer, for now
 ├─ StudyError         a study that is missing, or does not fit what is asked of it
 └─ UsageError         an option or argument

The command line catches HrmSweepError in one place, prints it, and exits with 2.
"""


class HrmSweepError(Exception):
    """Base of all errors that a user can do something about."""


class ConfigError(HrmSweepError):
    """A RunConfig, preset or override that cannot be used."""


class SpaceError(HrmSweepError):
    """A search space that cannot be used."""


class DataError(HrmSweepError):
    """A puzzle folder, CSV file or published set that cannot be used."""


class CheckpointError(HrmSweepError):
    """Weights or a training state that cannot be loaded."""


class RunDirectoryError(HrmSweepError):
    """A run directory that is missing, foreign, locked or damaged."""


class MetricsError(HrmSweepError):
    """An export of metrics that cannot be used."""


class TrainingError(HrmSweepError):
    """A run that cannot go on."""


class NonFiniteError(TrainingError):
    """The loss or a gradient became NaN or infinite."""


class DiskFullError(TrainingError):
    """A file of the run could not be written."""


class StorageError(HrmSweepError):
    """The database of studies cannot be used."""


class StorageAwayError(StorageError):
    """The server of the database does not answer, or broke off; it may be back in a moment."""


class StudyError(HrmSweepError):
    """A study that is missing, or that does not fit what is asked of it."""


class UsageError(HrmSweepError):
    """An option or an argument that cannot be used."""
