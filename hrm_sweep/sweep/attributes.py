"""The names under which a study and its trials carry what Optuna has no field for. DESIGN contract 4."""

# of a trial
OWNER = "owner"  # {host, pid, started} of the worker
ALIVE_AT = "alive_at"  # when the worker last said that it lives, by the database's clock
SEED = "seed"
RUN_DIR = "run_dir"
RETRY_OF = "retry_of"  # number of the attempt before
ASKED_FOR = "asked_for"  # true for an attempt that somebody asked for, with `hrm-sweep retry`
REPLICATE_OF = "replicate_of"  # number of an earlier trial with the same values and another seed
PARAMETERS = "parameters"  # of the model, the puzzle embedding left out
TRAIN_FLOPS = "train_flops"  # floating-point operations of its optimizer steps
SECONDS = "seconds"  # of training
PEAK_BYTES = "peak_bytes"  # the most memory it took
ACT_STEPS = "act_steps"  # mean number of ACT steps at halting, at its end
PRUNED_BY = "pruned_by"
AUDITED = "audited"  # {condemned_by, epoch, step, time_s} of a trial that a pruner condemned and that goes on
VIOLATES = "violates"  # in words, the constraints that it does not keep to
CURVE = "hrm-sweep:curve"  # [[epoch, value], ...] where a study has several goals; a system attribute
CAUSE = "cause"
MESSAGE = "message"
VERDICT = "verdict"
REMEDY = "remedy"  # {rule, overrides} of the leading finding of a trial that did not learn
REMEDY_OF = "remedy_of"  # number of the trial that this one remedies
REMEDY_RULE = "remedy_rule"  # the rule whose remedy this is
OVERRIDES = "overrides"  # what a remedy or a candidate changes outside of the search space, on top of the parameters
CANDIDATE = "candidate"  # of a confirmation: its place in `confirm.candidates`
UNSEEN = "unseen"  # of a confirmation: {exact_accuracy, accuracy, ...} on the unseen puzzles
SOLVED = "hrm-sweep:solved"  # of a confirmation: {puzzles, bits} which were solved, in base64; a system attribute

# of a study
STOP = "stop"  # drain or now, as `hrm-sweep stop` asked; absent or null when nobody did
SPACE = "space"  # the whole search space, its base inlined
FIRST_CONDEMNED = "first_condemned"  # {number: whether it goes on} of the first five trials that pruners condemned
HOLDOUT = "holdout"  # {trial, exact_accuracy, n}
TERMINATOR = "terminator"  # {trials, regret_bound, error, is_enough} of the last look of the terminator
DATA = "data"  # {folder: digest of its test split} of every data folder, when the study began
CONFIRMED = "confirmed"  # what the study's confirmation has found so far, see sweep/confirm/results.py
PAGE = "hrm-sweep:page"  # "TIME SIGNATURE" of what the dashboard shows of the study; a system attribute
