"""Who may ask what of the records: every call has a row, and whoever lacks the role is refused."""

from __future__ import annotations

import pytest

from rollcall.domain.errors import NotPermitted
from rollcall.edge.audit_roles import LOCAL, ROLES, Actor, AuditRole, check_role
from rollcall.edge.interceptors import AUDIT_SERVICE

NOBODY = Actor(name="nobody", roles=frozenset())


def test_every_call_has_a_row() -> None:
    """No call is open by oversight, and no row is of a call that is not there."""
    assert ROLES.keys() == set(AUDIT_SERVICE.methods_by_name)
    assert all(ROLES.values())


@pytest.mark.parametrize("role", AuditRole)
@pytest.mark.parametrize("method", sorted(AUDIT_SERVICE.methods_by_name))
def test_a_role_opens_what_its_row_says(method: str, role: AuditRole) -> None:
    """Exactly the roles of the row may ask."""
    actor = Actor(name="somebody", roles=frozenset({role}))
    if role in ROLES[method]:
        check_role(actor, method)
    else:
        with pytest.raises(NotPermitted, match="needs the role"):
            check_role(actor, method)
    with pytest.raises(NotPermitted):
        check_role(NOBODY, method)
    check_role(LOCAL, method)


def test_a_call_without_a_row_is_denied() -> None:
    """What nobody has thought of, nobody may do."""
    with pytest.raises(NotPermitted, match="one that nobody has"):
        check_role(LOCAL, "Undreamt")
