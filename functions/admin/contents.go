package admin

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

// Contents copies what namespaces contain; *openwhisk.API implements it.
type Contents interface {
	// Export writes a copy of a namespace's entities.
	Export(ctx context.Context, namespace string, w io.Writer) error
	// Import reads a copy into a namespace without entities, and returns its description.
	Import(ctx context.Context, namespace string, r io.Reader) (any, error)
}

// CopyRefusal is the error of a copy that cannot be restored, with the status of the answer.
type CopyRefusal interface {
	error
	Status() int
}

// contentsType is a JSON object in each line.
const contentsType = "application/x-ndjson"

// stream is an answer that is written while it is made.
type stream func(w io.Writer) error

func (a *api) exportContents(r *http.Request) (answer, error) {
	name := r.PathValue("namespace")
	if _, err := a.Store.Namespace(r.Context(), a.Store.Pool, name); err != nil {
		return answer{}, notFoundIs(err, "namespace")
	}
	return answer{http.StatusOK, stream(func(w io.Writer) error { return a.Contents.Export(r.Context(), name, w) })}, nil
}

func (a *api) importContents(r *http.Request) (answer, error) {
	name := r.PathValue("namespace")
	if _, err := a.Store.Namespace(r.Context(), a.Store.Pool, name); err != nil {
		return answer{}, notFoundIs(err, "namespace")
	}
	described, err := a.Contents.Import(r.Context(), name, r.Body)
	if err != nil {
		// A client that is still sending might not read the answer.
		_, _ = io.Copy(io.Discard, r.Body)
		return answer{}, importProblem(err)
	}
	return answer{http.StatusOK, described}, nil
}

func importProblem(err error) error {
	if refusal, ok := errors.AsType[CopyRefusal](err); ok {
		code := map[int]string{http.StatusBadRequest: "invalid", http.StatusConflict: "conflict"}[refusal.Status()]
		return problemf(refusal.Status(), cmp.Or(code, "refused"), "%s", refusal.Error())
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return invalid("the copy ends too soon")
	}
	return err
}

// send writes an answer, whose status it sends with the first byte. If it fails later, the
// connection is cut, so that nobody takes the half for the whole.
func (s stream) send(w http.ResponseWriter, status int) (begun bool, err error) {
	l := &lively{w: w, status: status, control: http.NewResponseController(w)}
	err = s(l)
	return l.begun, err
}

// lively extends the server's timeouts as long as there is progress.
type lively struct {
	w       http.ResponseWriter
	status  int
	begun   bool
	control *http.ResponseController
}

// Write implements io.Writer.
func (l *lively) Write(p []byte) (int, error) {
	if err := l.control.SetWriteDeadline(time.Now().Add(state.CopyPatience)); err != nil {
		return 0, err
	}
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", contentsType)
		l.w.Header().Set("Cache-Control", "no-store") // parameters are in clear text
		l.w.WriteHeader(l.status)
	}
	return l.w.Write(p)
}

// livelyBody is a request's body.
type livelyBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (l livelyBody) Read(p []byte) (int, error) {
	now := time.Now()
	// The answer may follow long after the server's timeout.
	if err := errors.Join(l.control.SetReadDeadline(now.Add(state.CopyPatience)), l.control.SetWriteDeadline(now.Add(state.CopyPatience))); err != nil {
		return 0, err
	}
	return l.ReadCloser.Read(p)
}
