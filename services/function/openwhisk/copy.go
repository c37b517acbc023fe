package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"

	"github.com/chandler-broker/chandler/services"
)

// copyFormat is the runtimes' format of copies.
const copyFormat = "openwhisk-1"

var _ services.Streamer[Plan, InstanceParams] = (*backend)(nil)

// Backup implements services.Streamer. The runtime makes the copy.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (contents services.Contents, err error) {
	response, err := b.api.stream(ctx, http.MethodGet, namespacePath(r.Instance)+"/contents", nil)
	if err != nil {
		return contents, failed("copy the namespace", err)
	}
	defer response.Body.Close()
	last := &lastLine{}
	if _, err := io.Copy(io.MultiWriter(r.Writer, last), response.Body); err != nil {
		return contents, fmt.Errorf("copy the namespace: %w", err)
	}
	var line struct{ End *services.Contents }
	if json.Unmarshal(last.text, &line) != nil || line.End == nil {
		return contents, errors.New("copy the namespace: the runtime's answer ended too soon")
	}
	return *line.End, nil
}

// Restore implements services.Streamer. The runtime checks each entity as if an application made
// it, so that nothing exceeds the plan.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (result services.RestoreResult, err error) {
	if r.Contents.Format != copyFormat {
		return result, services.Rejected("the backup has the format %q, and this service restores only %q: choose a backup of functions", r.Contents.Format, copyFormat)
	}
	response, err := b.api.stream(ctx, http.MethodPost, namespacePath(r.Instance)+"/contents", r.Reader)
	if refusal, ok := errors.AsType[*statusError](err); ok && refusal.status == http.StatusUnprocessableEntity {
		return result, services.Rejected("the backup does not fit: %s", refusal.message)
	}
	if err != nil {
		return result, failed("restore the namespace", err)
	}
	defer response.Body.Close()
	var got services.Contents
	if err := json.NewDecoder(io.LimitReader(response.Body, maxLastLine)).Decode(&got); err != nil {
		return result, fmt.Errorf("restore the namespace: %w", err)
	}
	if got.Digest != r.Contents.Digest || !maps.Equal(got.Counts, r.Contents.Counts) {
		return result, errors.New("restore the namespace: the copy does not contain what its description says")
	}
	return result, nil
}

// maxLastLine is more than the description of a copy has.
const maxLastLine = 64 << 10

// lastLine keeps the last line that is written to it, if that is short.
type lastLine struct {
	text []byte
	open bool // the line may go on
}

// Write implements io.Writer.
func (l *lastLine) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if !l.open {
			l.text, l.open = l.text[:0], true
		}
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		if len(l.text)+len(line) <= maxLastLine {
			l.text = append(l.text, line...)
		}
		l.open, p = !ended, rest
	}
	return n, nil
}

// stream makes a request with a body, or an answer, of any length. The caller closes the answer.
func (a *api) stream(ctx context.Context, method, path string, body io.Reader) (response *http.Response, err error) {
	for _, base := range a.urls {
		if err = a.ask(ctx, http.MethodGet, base+adminPath+"ready", nil, nil); err == nil {
			return a.streamAt(ctx, method, base+adminPath+path, body)
		}
		if dial, ok := errors.AsType[*net.OpError](err); !ok || dial.Op != "dial" {
			return nil, err
		}
	}
	return nil, err
}

func (a *api) streamAt(ctx context.Context, method, target string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/x-ndjson")
	}
	if !a.token.IsZero() {
		request.Header.Set("Authorization", "Bearer "+a.token.Reveal())
	}
	response, err := a.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		defer response.Body.Close()
		content, err := io.ReadAll(io.LimitReader(response.Body, maxLastLine))
		return nil, errors.Join(&statusError{response.StatusCode, message(content)}, err)
	}
	return response, nil
}
