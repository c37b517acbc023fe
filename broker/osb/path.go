package osb

import (
	"net/http"
	"net/url"
	"strings"
)

// cleaned returns the request with the path's superfluous slashes removed, such as
// those of a platform whose broker URL ends with one. No redirect says so: clients
// drop the body, or the credentials, when they follow it. The path stays
// percent-encoded, so that an ID may hold slashes.
func cleaned(r *http.Request) *http.Request {
	sent := r.URL.EscapedPath()
	path := cleanPath(sent)
	if path == sent {
		return r
	}
	out, location := *r, *r.URL
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return r // net/http parsed the same text before
	}
	location.Path, location.RawPath = decoded, path
	out.URL = &location
	return &out
}

// cleanPath removes empty segments, except where an ID belongs: a request whose ID
// is empty must not become one for the collection's next word.
func cleanPath(path string) string {
	if !strings.Contains(path, "//") && !strings.HasSuffix(path, "/") {
		return path
	}
	var kept []string
	for segment := range strings.SplitSeq(path, "/") {
		if n := len(kept); segment == "" && (n == 0 || !collection(kept[n-1])) {
			continue
		}
		kept = append(kept, segment)
	}
	return "/" + strings.Join(kept, "/")
}

// collection says whether an ID follows the segment.
func collection(segment string) bool {
	return segment == "service_instances" || segment == "service_bindings"
}
