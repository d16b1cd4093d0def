"""What could fool a reader of the numbers: duplicates and leaks, file metadata that separates the classes, imbalance.

May import: draws, stats, embeddings, core.
"""

from fewshot.audit.confounds import Confound as Confound
from fewshot.audit.confounds import confound_warning as confound_warning
from fewshot.audit.summary import Audit as Audit
from fewshot.audit.summary import audit as audit
