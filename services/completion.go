package services

import (
	"context"
	"errors"
	"time"
)

// completionTime is how much longer than its context a call may take that changes
// something.
const completionTime = 3 * time.Second

// RunToCompletion makes a call that changes something on a server and sees it to its end,
// for a few seconds, also when ctx ends: given up, it might take effect after what
// the caller does next, which is to undo it. The error is ctx's too where ctx has
// ended and the call failed.
func RunToCompletion(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(completionTime, cancel) })()
	err := call(longer)
	if err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}
