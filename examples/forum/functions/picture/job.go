// Package picture is shared by the forum's functions: their parameters and results, and the images in
// their mounted folder.
package picture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Job is the work on one photograph. Each function gets the previous one's result, and the last
// result is the report. Jobs are JSON objects.
type Job struct {
	// ID is the member's.
	ID string `json:"id"`
	// Photograph, Cropped and Picture are files in the folder: the visitor's file, its
	// middle, and the picture for the page.
	Photograph string `json:"photograph"`
	Cropped    string `json:"cropped,omitempty"`
	Picture    string `json:"picture,omitempty"`
	// Width and Height are the picture's in pixels, and Size is its file's in bytes.
	Width  int `json:"width,omitempty"`
	Height int `json:"height,omitempty"`
	Size   int `json:"size,omitempty"`
	// Refused tells the visitor why there is no picture. It is a result and not a failure,
	// because a retry would not help.
	Refused string `json:"refused,omitempty"`
}

// Refusal is an error of the photograph: the visitor should send another one.
type Refusal struct{ reason string }

// Error implements error.
func (r *Refusal) Error() string { return r.reason }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// identifier matches what may be part of a file's name.
var identifier = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// Work is a function's part of a job.
type Work func(*Folder, *Job) error

// Main reads parameters from in, does the work, and writes the result to out: the job, or
// {"error": text}, which makes the platform retry. It passes on a refused job unchanged.
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
		// Data is the job in an event from the queue. Otherwise the job is in the parameters
		// themselves.
		Data *Job `json:"data"`
		Job
	}
	if err := json.NewDecoder(in).Decode(&params); err != nil {
		return nil, fmt.Errorf("the parameters must be a job in JSON: %w", err)
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
