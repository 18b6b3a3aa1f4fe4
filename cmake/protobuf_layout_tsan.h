// Included before everything else in C++ compiled with ThreadSanitizer (cmake/ConvdTargets.cmake).
//
// Protocol Buffers' map fields have two more members where the compiler runs ThreadSanitizer.
// Debian's library is compiled without it, so code that saw them would disagree with the library
// about a message's layout. What the header includes comes first: the standard library's own use of
// the macro stays.
#include <google/protobuf/arena.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/generated_message_reflection.h>
#include <google/protobuf/generated_message_util.h>
#include <google/protobuf/map_entry.h>
#include <google/protobuf/map_field_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/repeated_field.h>
#include <google/protobuf/unknown_field_set.h>

#include <atomic>
#include <functional>

#pragma push_macro("__SANITIZE_THREAD__")
#undef __SANITIZE_THREAD__
#include <google/protobuf/map_field.h>
#pragma pop_macro("__SANITIZE_THREAD__")
