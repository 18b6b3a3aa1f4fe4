# How this project's libraries, programs and tests are declared, so that every folder's CMakeLists.txt
# is a list of names and nothing else.

add_library(convd_flags INTERFACE)
target_include_directories(convd_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(convd_flags INTERFACE -Wall -Wextra $<$<BOOL:${CONVD_WERROR}>:-Werror>)
target_compile_options(convd_flags INTERFACE $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
# gcc 12 warns of overlaps inside std::string that cannot happen (its bugs 105329 and 105651).
target_compile_options(convd_flags INTERFACE
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>)
if(CONVD_SANITIZE)
  add_compile_options(-fsanitize=${CONVD_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${CONVD_SANITIZE})
  if(CONVD_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
  if(CONVD_SANITIZE MATCHES "thread")
    # ThreadSanitizer doesn't know fences; without them Asio synchronizes by its locks alone.
    add_compile_definitions(BOOST_ASIO_DISABLE_FENCED_BLOCK)
    add_compile_options(-include ${CMAKE_SOURCE_DIR}/cmake/protobuf_layout_tsan.h)
  endif()
endif()

# convd_library(NAME SOURCES a.cc b.cc DEPS lib...)
function(convd_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE convd_flags)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# convd_program(NAME SOURCES main.cc DEPS lib...): lands in bin/.
function(convd_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} convd_flags)
endfunction()

# What the ThreadSanitizer stage builds; gRPC is in none of it.
add_custom_target(convd_tsan_tests)

# convd_test(NAME SOURCES a_test.cc DEPS lib... [LABELS long|tsan|...] [TIMEOUT seconds])
# One GoogleTest program, one ctest entry. Labels: "long" runs only in scripts/test --long, "tsan" marks what the
# ThreadSanitizer stage builds and runs, "e2e" starts real servers, "conformance" needs a peer from npm.
function(convd_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main convd_flags)
  # What is tested is optimized as it is delivered; for what tests it, a fifth of the compiler's time isn't worth it.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(CONVD_SANITIZE MATCHES "undefined")
    # Of what the tests themselves do, AddressSanitizer sees enough, and the compiler takes 40% less time.
    target_compile_options(${name} PRIVATE -fno-sanitize=undefined)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE CONVD_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             CONVD_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(CONVD_SANITIZE)
    math(EXPR ARG_TIMEOUT "3 * ${ARG_TIMEOUT}")
  endif()
  if("tsan" IN_LIST ARG_LABELS)
    add_dependencies(convd_tsan_tests ${name})
  endif()
  # ctest begins with what costs most, where it has not measured that yet: what may take longest, or one core would wait
  # for the last test.
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} COST ${ARG_TIMEOUT})
endfunction()
