package action

import "errors"

// What people are told who ask for something that cannot be.
var (
	ErrUnknown     = errors.New("no such action or pause is known")
	ErrOver        = errors.New("it is over already")
	ErrExpired     = errors.New("the time to approve it is over")
	ErrNotWaiting  = errors.New("it does not wait for an approval")
	ErrTooLate     = errors.New("it has been written already")
	ErrNotRecorded = errors.New("it could not be written down, and so is not done")
	ErrInvalid     = errors.New("that makes no sense")
)
