package osb

import (
	"bytes"
	"net/http"
)

// fetchCatalog answers GET /v2/catalog (OSB, "Catalog Management"), and 304 without a body
// to a platform that has it (RFC 9110, section 13.1).
func (a *api) fetchCatalog(x *exchange, r *http.Request) error {
	x.Header().Set("Content-Type", "application/json")
	x.Header().Set("ETag", a.Catalog.ETag())
	r.Header.Del("Range") // a part of the catalog is of no use
	http.ServeContent(x, r, "", a.Catalog.LastModified(), bytes.NewReader(a.Catalog.JSON()))
	return nil
}
