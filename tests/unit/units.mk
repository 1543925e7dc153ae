# The objects that each unit test links: a dependency map.  Needing one more is
# a design question.
#   UNIT_name      sources besides tests/unit/test_name.c
#   UNIT_LIBS_name libraries besides cmocka
