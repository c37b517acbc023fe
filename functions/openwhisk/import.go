package openwhisk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// Refusal says why a copy cannot be restored.
type Refusal struct {
	message string
	status  int
}

// Error implements error.
func (r *Refusal) Error() string { return r.message }

// Status is 422 if the copy does not fit the namespace, 400 if it is damaged, and 409 if the
// namespace is not empty, perhaps because another import is in progress.
func (r *Refusal) Status() int { return r.status }

func refuseCopy(format string, args ...any) error {
	return &Refusal{fmt.Sprintf(format, args...), http.StatusUnprocessableEntity}
}

func damaged(format string, args ...any) error {
	return &Refusal{"the copy is damaged: " + fmt.Sprintf(format, args...), http.StatusBadRequest}
}

func notEmpty(format string, args ...any) error {
	return &Refusal{fmt.Sprintf(format, args...), http.StatusConflict}
}

// maxLine is more than any line of a copy has: the code of an action in base64 and with JSON's
// escapes, and its parameters.
const maxLine = 160 << 20

// Import reads a copy that Export wrote into a namespace without entities. Each entity is made by
// the request with which an application would make it, and so has to fit the plan. Feeds are
// made last, after the whole copy was read. It returns a Copied.
func (a *API) Import(ctx context.Context, namespace string, r io.Reader) (any, error) {
	if err := a.checkEmpty(ctx, namespace); err != nil {
		return nil, err
	}
	t, in := newTally(), bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(in)
		if err != nil {
			return nil, err
		}
		if line.End != nil {
			return t.copied(), a.finishImport(ctx, namespace, &t, *line.End, in)
		}
		t.add(line)
		if line.Collection == feedsCollection {
			t.waiting = append(t.waiting, line)
		} else if err := a.importEntity(ctx, namespace, line); err != nil {
			return nil, err
		}
	}
}

func (a *API) checkEmpty(ctx context.Context, namespace string) error {
	if _, err := a.identify(ctx, namespaceCredentials(namespace)); err != nil {
		return err
	}
	n, err := a.Store.CountEntities(ctx, a.Store.Pool, namespace)
	if err == nil && n != (state.CountEntitiesRow{}) {
		err = notEmpty("the namespace is not empty")
	}
	return err
}

func readLine(in *bufio.Reader) (line copied, err error) {
	var text []byte
	for more := true; more; {
		var part []byte
		part, err = in.ReadSlice('\n')
		if text = append(text, part...); len(text) > maxLine {
			return line, damaged("a line has more than %d bytes", maxLine)
		}
		more = errors.Is(err, bufio.ErrBufferFull)
	}
	if err != nil {
		return line, fmt.Errorf("read the copy: %w", err)
	}
	if json.Unmarshal(text, &line) != nil {
		return line, damaged("a line is not JSON")
	}
	return line, nil
}

// finishImport compares what was read with the description at the end, and makes the feeds.
func (a *API) finishImport(ctx context.Context, namespace string, t *tally, end Copied, in *bufio.Reader) error {
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(damaged("it does not end with its description"), err)
	}
	got := t.copied()
	if end.Format != got.Format || end.Digest != got.Digest || !maps.Equal(end.Counts, got.Counts) {
		return damaged("it does not contain what its description says")
	}
	for _, line := range t.waiting {
		var f feed.Copy
		if json.Unmarshal(line.Body, &f) != nil {
			return damaged("the feed of %q is not JSON", line.Name)
		}
		err := a.feeds.Import(ctx, namespace, line.Name, f)
		if wrong, ok := errors.AsType[*feed.Refusal](err); ok {
			return refuseCopy("the feed of trigger %s: %s", line.Name, wrong.Error())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// importEntity makes one entity, on behalf of the namespace.
func (a *API) importEntity(ctx context.Context, namespace string, line copied) error {
	if !slices.Contains([]string{"packages", "actions", "triggers", "rules"}, line.Collection) {
		return damaged("there is no collection %q", line.Collection)
	}
	parts := strings.Split(line.Name, "/")
	if len(parts) > 2 || len(parts) == 2 && line.Collection != "actions" {
		return damaged("%q is not a name of %s", line.Name, line.Collection)
	}
	for i, part := range parts {
		if !validName(part) {
			return damaged("%q is not a name of %s", line.Name, line.Collection)
		}
		parts[i] = url.PathEscape(part)
	}
	path := line.Collection + "/" + strings.Join(parts, "/")
	if err := a.request(ctx, namespace, http.MethodPut, path, line.Body); err != nil {
		return err
	}
	if line.Collection == "rules" && line.Inactive {
		return a.request(ctx, namespace, http.MethodPost, path, []byte(`{"status": "inactive"}`))
	}
	return nil
}

// importTime is how long one request of an import may take.
const importTime = 2 * time.Minute

// request makes a request of the API as an action of the namespace would.
func (a *API) request(ctx context.Context, namespace, method, path string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, importTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://runtime/api/v1/namespaces/_/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	activation := strings.ReplaceAll(uuid.NewString(), "-", "")
	user, password, _ := strings.Cut(a.token(activation, identity{namespace: namespace}, time.Now().Add(importTime)), ":")
	r.SetBasicAuth(user, password)
	r.Header.Set("Content-Type", "application/json")
	w := &reply{header: http.Header{}, status: http.StatusOK}
	a.handler.ServeHTTP(w, r)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case w.status >= http.StatusInternalServerError:
		return fmt.Errorf("make %s: the API answers %d: %s", path, w.status, w.message())
	case w.status == http.StatusConflict:
		return notEmpty("%s: %s", path, w.message())
	case w.status >= http.StatusBadRequest:
		return refuseCopy("%s: %s", path, w.message())
	}
	return nil
}

// reply keeps the status and the beginning of an answer.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *reply) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *reply) WriteHeader(status int) { r.status = status }

// Write implements http.ResponseWriter.
func (r *reply) Write(p []byte) (int, error) {
	const most = 4 << 10
	r.body.Write(p[:min(len(p), max(most-r.body.Len(), 0))])
	return len(p), nil
}

func (r *reply) message() string {
	var answer struct{ Error string }
	_ = json.Unmarshal(r.body.Bytes(), &answer)
	return answer.Error
}
