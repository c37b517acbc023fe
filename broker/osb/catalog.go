package osb

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// document is the catalog's answer, made once: a platform that fetches it costs
// no encoding and next to no allocation. The header values are shared by all
// answers and never changed.
type document struct {
	body     []byte
	etag     string
	modified time.Time

	contentType, contentLength, etagHeader, lastModified []string
}

func newDocument(c *catalog.Catalog) document {
	d := document{
		body:          c.JSON(),
		etag:          c.ETag(),
		modified:      c.LastModified(),
		contentType:   []string{"application/json"},
		contentLength: []string{strconv.Itoa(len(c.JSON()))},
		etagHeader:    []string{c.ETag()},
	}
	if !d.modified.IsZero() { // a catalog that is no file has no such time
		d.lastModified = []string{d.modified.UTC().Format(http.TimeFormat)}
	}
	return d
}

// fetchCatalog answers GET /v2/catalog (OSB, "Catalog Management"), and 304
// without a body to a platform that has it (RFC 9110, section 13.1).
func (a *api) fetchCatalog(x *exchange, r *http.Request) error {
	h, d := x.Header(), &a.document
	h["Etag"] = d.etagHeader
	if d.lastModified != nil {
		h["Last-Modified"] = d.lastModified
	}
	if d.known(r.Header) {
		x.WriteHeader(http.StatusNotModified)
		return nil
	}
	h["Content-Type"], h["Content-Length"] = d.contentType, d.contentLength
	x.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = x.Write(d.body) // a client that is gone is nobody to tell
	}
	return nil
}

// known says whether the platform has this catalog. If-Modified-Since counts
// only where there is no If-None-Match.
func (d *document) known(h http.Header) bool {
	if sent, ok := h["If-None-Match"]; ok {
		return matches(strings.Join(sent, ","), d.etag)
	}
	sent := h.Get("If-Modified-Since")
	if sent == "" || d.lastModified == nil {
		return false
	}
	since, err := http.ParseTime(sent)
	return err == nil && !d.modified.Truncate(time.Second).After(since)
}

// matches compares the entity tags of If-None-Match weakly. A tag is quoted and
// may hold a comma.
func matches(list, etag string) bool {
	for {
		list = strings.TrimLeft(list, " \t,")
		if strings.HasPrefix(list, "*") {
			return true
		}
		list = strings.TrimPrefix(list, "W/")
		if !strings.HasPrefix(list, `"`) {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if list[:end+2] == etag {
			return true
		}
		list = list[end+2:]
	}
}
