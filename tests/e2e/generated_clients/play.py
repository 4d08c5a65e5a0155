"""Plays a share's life with the client of openapi-python-client: it has made the package ``client``."""

import json
import sys
from uuid import uuid4

from client import AuthenticatedClient
from client.api.default import add_to_my_list, create_share, look_up, revoke_share
from client.models import AddRequestBody, ShareRequestBody

base_url, owner, reader, wishlist, product = sys.argv[1:]
theirs, mine = (AuthenticatedClient(base_url=base_url, token=jwt) for jwt in (owner, reader))

body = ShareRequestBody.from_dict({"channel": "whatsapp", "expires_in_days": 7})
shared = create_share.sync(wishlist, client=theirs, body=body, idempotency_key=str(uuid4()))
seen = look_up.sync(shared.share_token, client=mine)
copy = AddRequestBody.from_dict(
    {"product_id": product, "source": "shared_wishlist", "source_token": shared.share_token}
)
added = add_to_my_list.sync(client=mine, body=copy)
revoked = revoke_share.sync_detailed(wishlist, shared.share_token, client=theirs)
after = look_up.sync_detailed(shared.share_token, client=mine)
said = {
    "created": shared.item_count > 0,
    "viewed": product in [item.product_id for item in seen.wishlist.items],
    "added": added.product_id,
    "revoked": int(revoked.status_code),
    "after": int(after.status_code),
    "error": after.parsed.error,
}
print(json.dumps(said))
