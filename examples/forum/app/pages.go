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

// fault is an error that the visitor is told, with its HTTP status.
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
	// A page of somebody else's may not make his visitors join.
	return http.NewCrossOriginProtection().Handler(mux)
}

// fail tells a visitor what went wrong. What is not his to know is logged.
func (f *forum) fail(w http.ResponseWriter, r *http.Request, err error) {
	told, ok := errors.AsType[*fault](err)
	if errors.Is(err, errNoMember) {
		told, ok = &fault{http.StatusNotFound, err.Error()}, true
	}
	if !ok {
		if r.Context().Err() != nil {
			return // nobody is there to be told
		}
		f.log.Error("a page failed", "method", r.Method, "path", r.URL.Path, "error", err)
		told = &fault{http.StatusServiceUnavailable, "this does not work at the moment; try again later"}
	}
	if err := show(w, told.code, "fault.html", told.text); err != nil {
		f.log.Error("a fault cannot be told", "error", err)
	}
}

// show answers with a page, all of it or none.
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

// home shows the members who came last.
func (f *forum) home(w http.ResponseWriter, r *http.Request) error {
	const shown = 60
	database, done, err := f.database.use()
	if err != nil {
		return err
	}
	defer done()
	members, err := database.latest(r.Context(), shown)
	if err != nil {
		return err
	}
	return show(w, http.StatusOK, "home.html", members)
}

// find returns the member whom a page is about.
func (f *forum) find(r *http.Request) (member, error) {
	database, done, err := f.database.use()
	if err != nil {
		return member{}, err
	}
	defer done()
	return database.get(r.Context(), r.PathValue("id"))
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

// picture is the small picture of a member.
func (f *forum) picture(w http.ResponseWriter, r *http.Request) error {
	m, err := f.find(r)
	if err != nil {
		return err
	}
	if m.Picture == "" {
		return refuse(http.StatusNotFound, "there is no picture yet")
	}
	bucket, done, err := f.bucket.use()
	if err != nil {
		return err
	}
	defer done()
	content, size, err := bucket.get(r.Context(), m.Picture)
	if err != nil {
		return err
	}
	defer content.Close()
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Cache-Control", "public, max-age=86400")
	if _, err := io.Copy(w, content); err != nil {
		f.log.Warn("a picture was cut off", "member", m.ID, "error", err)
		panic(http.ErrAbortHandler) // the visitor must not take it for all of it
	}
	return nil
}

// status tells as whom the forum is connected to its services, as JSON; 503 while
// one is missing. It is for the operator and tells no secrets.
func (f *forum) status(w http.ResponseWriter, _ *http.Request) error {
	all := map[string]linkStatus{
		f.database.name: f.database.status(), f.bucket.name: f.bucket.status(), f.queue.name: f.queue.status(),
		f.name.name: f.name.status(), f.functions.name: f.functions.status(),
	}
	w.Header().Set("Content-Type", "application/json")
	for _, s := range all {
		if s.Identity == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			break
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(all)
}

func style(w http.ResponseWriter, r *http.Request) error {
	http.ServeFileFS(w, r, files, "pages/style.css")
	return nil
}
