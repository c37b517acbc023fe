// Package picture is what the forum's functions share: what they are told and
// tell, and how they read and write images in the folder that is mounted for
// them.
package picture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Job is one photograph's way through the functions. Each gets the answer of the
// one before, and the last one's answer is the report. On the wire it is a JSON
// object.
type Job struct {
	// ID is the member's, whom the photograph is of.
	ID string `json:"id"`
	// Photograph, Cropped and Picture are the names of files, relative to the
	// folder: what the visitor sent, its middle, and what the page shows.
	Photograph string `json:"photograph"`
	Cropped    string `json:"cropped,omitempty"`
	Picture    string `json:"picture,omitempty"`
	// Width and Height are the picture's, in pixels, and Size is its file's, in
	// bytes.
	Width  int `json:"width,omitempty"`
	Height int `json:"height,omitempty"`
	Size   int `json:"size,omitempty"`
	// Refused says why there will be no picture, for the visitor to read. It
	// is an answer and no failure: to try again would not help.
	Refused string `json:"refused,omitempty"`
}

// Refusal is an error that is the photograph's own: the visitor should send
// another one.
type Refusal struct{ reason string }

// Error implements error.
func (r *Refusal) Error() string { return r.reason }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// identifier is what may become part of a file's name.
var identifier = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// Work is one function's part of a job.
type Work func(*Folder, *Job) error

// Main reads parameters from in, does the work, and writes the answer to out: the
// job, or {"error": text}, by which the platform knows that it failed and should
// be tried again. A job that was refused before passes by unchanged.
func Main(in io.Reader, out io.Writer, work Work) error {
	job, err := run(in, work)
	if err != nil {
		return json.NewEncoder(out).Encode(map[string]string{"error": err.Error()})
	}
	return json.NewEncoder(out).Encode(job)
}

func run(in io.Reader, work Work) (*Job, error) {
	var params struct {
		Folder string `json:"folder"`
		// Data is the job where it comes from the queue: the data of an event,
		// beside its attributes. Else the job is in the parameters themselves.
		Data *Job `json:"data"`
		Job
	}
	if err := json.NewDecoder(in).Decode(&params); err != nil {
		return nil, fmt.Errorf("the parameters are no JSON object of a job's types: %w", err)
	}
	if params.Data != nil {
		params.Job = *params.Data
	}
	if !identifier.MatchString(params.ID) || params.Photograph == "" || params.Folder == "" {
		return nil, errors.New("the parameters need id (letters, digits and hyphens), photograph and folder")
	}
	job := &params.Job
	if job.Refused != "" {
		return job, nil
	}
	folder, err := OpenFolder(params.Folder)
	if err != nil {
		return nil, err
	}
	err = errors.Join(work(folder, job), folder.Close())
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		job.Refused, err = refusal.reason, nil
	}
	return job, err
}
