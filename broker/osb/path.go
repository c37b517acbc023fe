package osb

import (
	"net/http"
	"net/url"
	"strings"
)

// cleaned returns the request with the path's superfluous slashes removed, such as
// those of a platform whose broker URL ends with one. A redirect would not do: clients that
// follow it drop the body or the credentials. The path stays percent-encoded, so that an ID
// may contain slashes.
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

// cleanPath removes empty segments, except those of IDs: a request with an empty ID must not
// become a request for the next segment.
func cleanPath(path string) string {
	if !strings.Contains(path, "//") && !strings.HasSuffix(path, "/") {
		return path
	}
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		if n := len(segments); segment == "" && (n == 0 || !collection(segments[n-1])) {
			continue
		}
		segments = append(segments, segment)
	}
	return "/" + strings.Join(segments, "/")
}

// collection says whether an ID follows the segment.
func collection(segment string) bool {
	return segment == "service_instances" || segment == "service_bindings"
}
