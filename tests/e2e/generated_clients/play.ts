// The types are made from /openapi.json (schema.d.ts): a request or an answer that it does not allow does not compile.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

declare const process: { argv: string[] };
const [, , baseUrl, owner, reader, list, product] = process.argv;

function taken<T>(step: string, answer: { data?: T; error?: components["schemas"]["Error"]; response: Response }): T {
  if (answer.error !== undefined || answer.data === undefined) {
    throw new Error(`${step}: ${answer.response.status} ${answer.error?.error}`);
  }
  return answer.data;
}

const as = (jwt: string) => createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${jwt}` } });
const shared = taken("create", await as(owner).POST("/api/v2/wishlists/{wishlist}/share", {
  params: { path: { wishlist: list }, header: { "Idempotency-Key": crypto.randomUUID() } },
  body: { channel: "whatsapp", expires_in_days: 7 },
}));
const token: string = shared.share_token;
const seen = taken("view", await as(reader).GET("/api/v2/wishlists/shared/{token}", { params: { path: { token } } }));
const names: string[] = seen.wishlist.items.map((item) => item.product_id);
const added = taken("add", await as(reader).POST("/api/v2/wishlists/my/items", {
  body: { product_id: product, source: "shared_wishlist", source_token: token },
}));
const revoked = await as(owner).DELETE("/api/v2/wishlists/{wishlist}/shares/{token}", {
  params: { path: { wishlist: list, token } },
});
const after = await as(reader).GET("/api/v2/wishlists/shared/{token}", { params: { path: { token } } });
console.log(JSON.stringify({
  created: shared.item_count > 0, viewed: names.includes(product), added: added.product_id,
  revoked: revoked.response.status, after: after.response.status, error: after.error?.error,
}));
