"""All mistakes, by the floor where they are made, each with the tests that must notice it."""

from __future__ import annotations

from tests.mutations.dialogue import LMTP, NET, POLICY
from tests.mutations.keeping import DELIVERY, INTAKE, JOURNAL, SPOOL

MUTATIONS = (*LMTP, *NET, *POLICY, *DELIVERY, *JOURNAL, *SPOOL, *INTAKE)
