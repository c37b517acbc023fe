package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
)

//go:embed pages
var files embed.FS

var templates = template.Must(template.ParseFS(files, "pages/*.html"))

// fault is an error for the visitor, with its HTTP status.
type fault struct {
	code int
	text string
}

// Error implements error.
func (f *fault) Error() string { return f.text }

func refuse(code int, format string, args ...any) error {
	return &fault{code, fmt.Sprintf(format, args...)}
}

func (f *forum) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, page := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /{$}":                  f.home,
		"POST /members":             f.join,
		"GET /members/{id}":         f.profile,
		"GET /members/{id}/picture": f.picture,
		"GET /status":               f.status,
		"GET /style.css":            style,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			if err := page(w, r); err != nil {
				f.fail(w, r, err)
			}
		})
	}
	// No other site's page can make its visitors join.
	return http.NewCrossOriginProtection().Handler(mux)
}

// fail shows a fault to the visitor, and logs other errors.
func (f *forum) fail(w http.ResponseWriter, r *http.Request, err error) {
	shown, ok := errors.AsType[*fault](err)
	switch {
	case ok:
	case errors.Is(err, errNoMember):
		shown = &fault{http.StatusNotFound, err.Error()}
	case r.Context().Err() != nil:
		return // the visitor has gone
	default:
		f.log.Error("a page failed", "method", r.Method, "path", r.URL.Path, "error", err)
		shown = &fault{http.StatusServiceUnavailable, "this does not work at the moment; try again later"}
	}
	if err := show(w, shown.code, "fault.html", shown.text); err != nil {
		f.log.Error("a fault cannot be shown", "error", err)
	}
}

// show sends a whole page, or returns an error.
func show(w http.ResponseWriter, code int, name string, data any) error {
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = page.WriteTo(w) // the visitor may have gone
	return nil
}

// home shows the newest members.
func (f *forum) home(w http.ResponseWriter, r *http.Request) error {
	const shown = 60
	return f.database.do(func(d *database) error {
		members, err := d.latest(r.Context(), shown)
		if err != nil {
			return err
		}
		return show(w, http.StatusOK, "home.html", members)
	})
}

// find returns the member of a page.
func (f *forum) find(r *http.Request) (m member, err error) {
	err = f.database.do(func(d *database) error {
		m, err = d.get(r.Context(), r.PathValue("id"))
		return err
	})
	return m, err
}

func (f *forum) profile(w http.ResponseWriter, r *http.Request) error {
	m, err := f.find(r)
	if err != nil {
		return err
	}
	if m.Picture == "" && m.Refused == "" {
		w.Header().Set("Refresh", "1") // the picture is being made
	}
	return show(w, http.StatusOK, "member.html", m)
}

// picture sends the small picture of a member.
func (f *forum) picture(w http.ResponseWriter, r *http.Request) error {
	m, err := f.find(r)
	if err != nil {
		return err
	}
	if m.Picture == "" {
		return refuse(http.StatusNotFound, "the picture does not exist yet")
	}
	return f.bucket.do(func(b *bucket) error {
		content, size, err := b.get(r.Context(), m.Picture)
		if err != nil {
			return err
		}
		defer content.Close()
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		w.Header().Set("Cache-Control", "public, max-age=86400")
		if _, err := io.Copy(w, content); err != nil {
			f.log.Warn("a picture was cut off", "member", m.ID, "error", err)
			panic(http.ErrAbortHandler) // so that the visitor does not take it for a whole picture
		}
		return nil
	})
}

// status shows the forum's connections to its services, as JSON, without secrets; 503 while
// one is missing.
func (f *forum) status(w http.ResponseWriter, _ *http.Request) error {
	all, code := map[string]linkStatus{}, http.StatusOK
	for name, l := range f.links() {
		if all[name] = l.status(); all[name].Identity == "" {
			code = http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(all)
}

func style(w http.ResponseWriter, r *http.Request) error {
	http.ServeFileFS(w, r, files, "pages/style.css")
	return nil
}
